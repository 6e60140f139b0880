"""Each scorer is declared once, and a spec knows the same names."""

from typing import get_args

from anomalyvfm_opt.evaluation.scorers import ENSEMBLE, MAHALANOBIS, SCORERS
from anomalyvfm_opt.spec.model import ScorerName


def test_a_spec_may_name_every_scorer_and_no_other() -> None:
    assert (*(scorer.name for scorer in SCORERS), ENSEMBLE) == get_args(ScorerName)


def test_what_is_known_of_each_scorer() -> None:
    """`training-free` decides what the linter's probe looks at, `map` which scorers have metrics of pixels."""
    with_heads = {scorer.name for scorer in SCORERS if scorer.needs_heads}
    assert with_heads == {"predictor", "decoder"}
    assert {scorer.name for scorer in SCORERS if scorer.is_training_free} == {"mahalanobis", "patch_knn"}
    assert {scorer.name for scorer in SCORERS if scorer.has_map} == {"decoder", "patch_knn"}
    assert all(scorer.is_in_ensemble for scorer in SCORERS)
    assert MAHALANOBIS in SCORERS
