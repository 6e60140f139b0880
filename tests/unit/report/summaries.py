"""What is known of a study that no store was read for."""

from typing import Any

from anomalyvfm_opt.evaluation.linter.findings import Finding, Severity
from anomalyvfm_opt.report.summary import StudySummary, TrialSummary
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.budget import Usage
from anomalyvfm_opt.store.study_state import StudyState
from anomalyvfm_opt.verdict.noise import NoiseFloor
from anomalyvfm_opt.verdict.replicates import Noise
from tests.unit.verdict.cases import V1_1, make_study

BROKEN = Finding("train_mode", Severity.BROKEN, "in train mode")
DOUBTFUL = Finding("flat_loss", Severity.DOUBTFUL, "flat")
# SD 0.01; one more seed lies within 4.3027 * 0.01 * sqrt(4 / 3) = 0.0497 of the mean in 95 % of cases
NOISE = Noise("v1.1", "ensemble", NoiseFloor((0.79, 0.80, 0.81), 0.0001))


def make_trial(
    number: int, value: float, *findings: Finding, parameters: Parameters | None = V1_1, **more: Any
) -> TrialSummary:
    known: dict[str, Any] = {
        "seconds": 12.34,
        "scorer": "ensemble",
        "reference": None,
        "peak_memory_mib": 700,
        **more,
    }
    return TrialSummary(number=number, value=value, parameters=parameters, findings=findings, **known)


def make_summary(**changes: Any) -> StudySummary:
    """A study with both references and four of its six trials used, of which one failed."""
    known: dict[str, Any] = {
        "record": make_study(),
        "usage": Usage(complete=3, pruned=0, failed=1, running=0, waiting=0, held=0, budget=6),
        "set_state": StudyState("active", ""),
        "images": {"fit": 30, "held_out": 8, "search": 20, "locked": 22},
        "references": {
            FROZEN: make_trial(0, 0.7, parameters=None, reference=FROZEN),
            "v1.1": make_trial(1, 0.8, reference="v1.1"),
        },
        "same_as": {},
        "best": make_trial(2, 0.86),
        "scenes": (10, 12),
        **changes,
    }
    return StudySummary(**known)
