"""What there is to doubt in a verdict: further looks, images that were not unseen, seeds that failed."""

from collections.abc import Iterator, Sequence

from anomalyvfm_opt.model.offline_weights import find_caveat
from anomalyvfm_opt.store.confirmation_plan import BASELINE, FINALIST
from anomalyvfm_opt.verdict.judge import CategoryVerdict
from anomalyvfm_opt.words import counted


def list_doubts(categories: Sequence[CategoryVerdict]) -> list[str]:
    """Return the doubts, a line for each."""
    return [f"{one.evidence.study.name}: {line}" for one in categories for line in _list_doubts(one)]


def count_looks(one: CategoryVerdict) -> tuple[int, int]:
    """Confirmations that opened these locked images, by any study, and how often models were scored on them."""
    return len(one.openings), sum(opening.scorings for opening in one.openings)


def _list_doubts(one: CategoryVerdict) -> Iterator[str]:
    evidence = one.evidence
    looks, scorings = count_looks(one)
    if looks > 1:
        ours = (evidence.study.name_sibling("confirm"), evidence.stored.round)
        others = [
            f"{opening.study_name} round {opening.round}"
            for opening in one.openings
            if (opening.study_name, opening.round) != ours
        ]
        yield (
            f"LOOKED AT {looks} TIMES: these locked images were opened by {looks} confirmations ({scorings} models"
            f" scored; also {', '.join(others)}); the level of the interval holds for the first one only"
        )
    if evidence.stored.round > 1:
        reason = f": {evidence.plan.reason}" if evidence.plan.reason else ""
        yield f"this is confirmation {evidence.stored.round} of {evidence.rounds}{reason}"
    for study, images in one.searched_on.items():
        yield f"NOT UNSEEN: {images} of the locked images were searched on by {study}"
    if evidence.plan.chosen_by != "race":
        yield f"the finalist was named by {evidence.plan.chosen_by}, not found by the race"
    for name in (FINALIST, BASELINE):
        failed = evidence.arms[name].runs.failed
        if failed:
            how = ", ".join(sorted({str(run.outcome) for run in failed}))
            planned = len(failed) + len(evidence.arms[name].values)
            yield f"{len(failed)} of {counted(planned, 'seed')} of the {name} failed ({how})"
    devices = {str(run.record.device) for arm in evidence.arms.values() for run in arm.runs.done}
    if len(devices) > 1:
        yield f"the arms ran on several kinds of device: {', '.join(sorted(devices))}"
    backbone = one.evidence.study.spec.backbone
    if backbone.weights == "random":
        yield "RANDOM WEIGHTS: the backbone learned nothing; this only shows that it runs"
    if caveat := find_caveat(backbone.name, backbone.weights):
        yield f"OFFLINE WEIGHTS: {caveat}"
