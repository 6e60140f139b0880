"""What a worker says of its trials, a line each."""

from typing import Protocol

from anomalyvfm_opt.evaluation.linter.findings import name_checks
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.trial.outcome import Outcome, Policy
from anomalyvfm_opt.trial.progress import Underway
from anomalyvfm_opt.trial.settle import Ended


class Show(Protocol):
    """Shows how far a worker is, in place of what it showed before."""

    def __call__(self, line: str, /, *, is_new: bool = False) -> None:
        """Take a line; `is_new` where it speaks of something else than the last one, and is to be seen at once."""


def do_not_show(_line: str, /, *, is_new: bool = False) -> None:
    """Take a line that nobody wants to see."""


def describe_end(study: StudyRecord, ended: Ended) -> str:
    """Say how a trial ended: `demo/brick trial 4 completed 0.7667 (flat_loss)`."""
    is_shown = ended.value is not None and study.kind != "confirm"  # half a confirmation says nothing
    value = f" {ended.value:.4f}" if is_shown else ""
    reason = f": {ended.message.strip().splitlines()[-1]}" if ended.message else ""
    findings = f" ({name_checks(ended.findings)})" if ended.findings else ""
    then = "; given back" if ended.outcome.policy is Policy.RETRY else ""
    return f"{study.name} trial {ended.number} {ended.outcome}{value}{findings}{reason}{then}"


def describe_underway(study: StudyRecord, underway: Underway) -> str:
    """Say how far a trial is: `demo/brick trial 4, search: epoch 3/10, loss 0.1234, 35 s`."""
    loss = "" if underway.loss is None else f", loss {underway.loss:.4f}"
    if underway.epochs == 0:
        how_far = "scoring"
    elif underway.epoch == underway.epochs:
        how_far = f"epoch {underway.epoch}/{underway.epochs} done{loss}, scoring"
    else:
        how_far = f"epoch {underway.epoch + 1}/{underway.epochs}{loss}"
    resumed = "" if underway.resumed_from is None else f", goes on after epoch {underway.resumed_from}"
    return f"{study.name} trial {underway.number}, {underway.what}{resumed}: {how_far}, {underway.seconds:.0f} s"


def count_outcomes(ended: list[Ended]) -> str:
    """Return a line such as `5 completed, 1 diverged`."""
    counts = {outcome: sum(e.outcome is outcome for e in ended) for outcome in Outcome}
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "no trial"
