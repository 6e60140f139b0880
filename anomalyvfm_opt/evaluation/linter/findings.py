"""What a check found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding takes from a trial."""

    BROKEN = "broken"  # its number cannot be trusted
    DOUBTFUL = "doubtful"  # its number is right, but the trial is not what it seems


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a trial.

    Args:
        check: the check's name, such as `flat_loss`.
        severity: what it takes from the trial.
        message: what was measured, the value, the limit, and what to do.
    """

    check: str
    severity: Severity
    message: str

    @classmethod
    def from_stored(cls, stored: Mapping[str, str]) -> "Finding":
        """Return a finding as a trial's attribute holds it: the fields by name."""
        return cls(stored["check"], Severity(stored["severity"]), stored["message"])


def is_unsound(findings: Iterable[Finding]) -> bool:
    """Return whether a trial's number cannot be trusted."""
    return any(finding.severity is Severity.BROKEN for finding in findings)


def name_checks(findings: Iterable[Finding]) -> str:
    """Return the checks that found something, each once: `flat_loss, idle_adapter`."""
    return ", ".join(dict.fromkeys(finding.check for finding in findings))
