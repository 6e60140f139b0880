"""What to do after a verdict, as commands."""

from anomalyvfm_opt.verdict.decide import Ruling
from anomalyvfm_opt.verdict.judge import CategoryVerdict
from anomalyvfm_opt.verdict.judge_spec import SpecVerdict


def name_next(found: CategoryVerdict | SpecVerdict) -> str:
    """Return the commands that use what a verdict says, and the one that would decide it if seeds alone would."""
    if isinstance(found, CategoryVerdict):
        name, studies = found.evidence.study.name, [found.evidence.study.name]
    else:
        name, studies = found.spec, [one.evidence.study.name for one in found.categories]
    return f"Next: {_use(found.ruling, studies)}.{_decide(found.ruling, name)}"


def _use(ruling: Ruling, studies: list[str]) -> str:
    option, what = ("", "finalist") if ruling.verdict == "ADOPT" else (" --baseline", "baseline")
    each = "" if len(studies) == 1 else ", and so for each category"
    return f"anomalyvfm-opt model export {studies[0]} DIR{option} makes a detector of the {what}{each}"


def _decide(ruling: Ruling, name: str) -> str:
    if ruling.need is None or ruling.need.seeds is None:
        return ""
    return (
        f" To decide it: anomalyvfm-opt confirm {name} --again --seeds {ruling.need.seeds} --reason TEXT, which is"
        " another look at the same images, and is counted as one."
    )
