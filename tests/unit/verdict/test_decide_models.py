"""Arms of which few models or none are left: there is no ruling on their seeds, whatever the scenes."""

import pytest

from anomalyvfm_opt.verdict.decide import decide
from tests.unit.verdict.test_decide import SCENES, TERMS, make_difference


@pytest.mark.parametrize(
    ("models", "named"),
    [
        ({"finalist": 0, "baseline": 5}, "of the finalist came"),
        ({"finalist": 5, "baseline": 0}, "of the baseline came"),
        ({"finalist": 0, "baseline": 0}, "of the finalist and the baseline came"),
    ],
)
def test_an_arm_without_a_model_is_named_whatever_the_scenes(models: dict[str, int], named: str) -> None:
    for scenes in (SCENES, None, (1, 1)):
        ruling = decide(None, TERMS, None, scenes, models=models)
        assert (ruling.verdict, ruling.reason) == ("INCONCLUSIVE", "no_models")
        assert named in ruling.action
        assert "scenes" not in ruling.action


def test_an_arm_with_one_model_left_says_nothing_of_its_seeds() -> None:
    difference = make_difference(0.3, 0.001, 0.001)
    assert decide(difference, TERMS, 1.0, SCENES, models={"finalist": 5, "baseline": 2}).verdict == "ADOPT"
    ruling = decide(difference, TERMS, 1.0, SCENES, models={"finalist": 1, "baseline": 5})
    assert (ruling.verdict, ruling.reason) == ("INCONCLUSIVE", "too_few_seeds")
