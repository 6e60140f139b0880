"""What a search came to, in a sentence: whether anything beat the baseline, and what."""

from anomalyvfm_opt.report.grid import signed
from anomalyvfm_opt.report.summary import StudySummary
from anomalyvfm_opt.verdict.replicates import name_baseline


def describe_outcome(summary: StudySummary) -> str:
    """Return whether anything beat the baseline so far, without a full stop; empty before there is a baseline.

    Of a baseline whose own value cannot be trusted nothing is said: nothing can be compared with it.
    """
    name = name_baseline(summary.record)
    best, baseline = summary.best, summary.references.get(name)
    if best is None or baseline is None or baseline.is_unsound:
        return ""
    category, gain = summary.record.category, best.value - baseline.value
    if gain <= 0:
        searched = summary.usage.done - sum(trial is not None for trial in _list_run(summary))
        tried = f"none of the {searched} searched trials did" if searched > 0 else "no trial was searched yet"
        return f"{category}: nothing beat the baseline {name} ({baseline.value:.4f}); {tried}"
    what = f"the reference {best.reference}" if best.reference else f"trial {best.number}"
    return f"{category}: {what} is {signed(gain)} above the baseline {name}{_weigh(summary, gain)}"


def _list_run(summary: StudySummary) -> list[object]:
    """Return the references that were run as trials of their own."""
    return [trial for name, trial in summary.references.items() if name not in summary.same_as]


def _weigh(summary: StudySummary, gain: float) -> str:
    if summary.noise is None or gain >= summary.noise.floor.least_difference:
        return ""
    return f", less than another seed may make ({summary.noise.floor.least_difference:.4f}): noise"
