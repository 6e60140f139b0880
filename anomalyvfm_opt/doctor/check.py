"""A check, what it finds, and the order in which checks run."""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Thread

from anomalyvfm_opt.errors import AnomalyVFMOptError

_LIMIT_S = 15.0
_FIX_BUG = "this is a mistake in the check, not in your installation: report this line"
_FIX_SILENCE = "see whether the disk, the network or the driver that it asks hangs; then repeat"


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class CheckResult:
    """What a check saw, and what to do about it."""

    status: Status
    detail: str
    fix: str = ""


def ok(detail: str) -> CheckResult:
    """Report that there is nothing to do."""
    return CheckResult(Status.OK, detail)


def warn(detail: str, fix: str) -> CheckResult:
    """Report that it works, but not well, or not for long."""
    return CheckResult(Status.WARN, detail, fix)


def fail(detail: str, fix: str) -> CheckResult:
    """Report that a command which needs this will end with an error."""
    return CheckResult(Status.FAIL, detail, fix)


def skip(detail: str) -> CheckResult:
    """Report that it was not looked at."""
    return CheckResult(Status.SKIP, detail)


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Args:
        name: as it stands in the table and in the JSON.
        look: says what it found; it changes nothing.
        needs: names of checks that come earlier; where one of them failed or was skipped, this one is skipped.
        limit_s: seconds after which the check counts as failed.
    """

    name: str
    look: Callable[[], CheckResult]
    needs: tuple[str, ...] = ()
    limit_s: float = _LIMIT_S


def run_checks(checks: Iterable[Check]) -> dict[str, CheckResult]:
    """Run each check on its own, in order: whatever happens in one, the others are run.

    Returns:
        Name -> finding, in the order of the checks.
    """
    findings: dict[str, CheckResult] = {}
    for check in checks:
        causes = [name for name in check.needs if findings[name].status in (Status.FAIL, Status.SKIP)]
        if causes:
            happened = "failed" if findings[causes[0]].status is Status.FAIL else "was skipped"
            findings[check.name] = skip(f"not looked at: {causes[0]} {happened}")
        else:
            findings[check.name] = _run(check)
    return findings


def summarise(findings: Iterable[CheckResult]) -> Status:
    """Return the worst of the findings; one that was skipped counts as ok."""
    found = {finding.status for finding in findings}
    return next((status for status in (Status.FAIL, Status.WARN) if status in found), Status.OK)


def _run(check: Check) -> CheckResult:
    """Run one check in a thread that may be left behind: a name server or a network disk can hang for ever."""
    found: list[CheckResult] = []
    thread = Thread(target=lambda: found.append(_look(check)), name=f"check {check.name}", daemon=True)
    thread.start()
    thread.join(check.limit_s)
    return found[0] if found else fail(f"no answer within {check.limit_s:.0f} s", _FIX_SILENCE)


def _look(check: Check) -> CheckResult:
    try:
        return check.look()
    except AnomalyVFMOptError as error:
        return fail(error.message, error.hint or "correct that, then repeat")
    except Exception as error:  # all kinds: on a broken installation anything may raise, and the rest must be seen
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        said = (str(error).splitlines() or ["no message"])[0]
        return fail(f"{type(error).__name__}: {said} ({place})", _FIX_BUG)
