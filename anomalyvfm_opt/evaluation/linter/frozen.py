"""Check of what must never move: the backbone's own parameters and statistics."""

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.evaluation.linter.findings import Finding, Severity
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.words import counted


def check_frozen(backbone: Backbone) -> list[Finding]:
    """`frozen_moved`: a parameter or a buffer of the backbone is not what it was; the adapter must be out."""
    moved = backbone.list_moved()
    if not moved:
        return []
    message = (
        f"{_count(moved)} of {backbone.name} changed during the trial; none may: see that nothing trains them or"
        " puts them into train mode. The worker does not use this backbone again"
    )
    return [Finding("frozen_moved", Severity.BROKEN, message)]


def refuse_moved(backbone: Backbone) -> None:
    """See before a trial that the backbone is as it was loaded.

    Raises:
        EnvironmentMissingError: an earlier trial changed it.
    """
    if moved := backbone.list_moved():
        raise EnvironmentMissingError(
            f"the backbone in memory is spoilt: {_count(moved)} of {backbone.name} changed since it was loaded",
            "start the worker again, which loads it anew; the trial that did it has the finding frozen_moved",
        )


def _count(moved: list[str]) -> str:
    return f"{counted(len(moved), 'tensor')} (first {moved[0]!r})"
