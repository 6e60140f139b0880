import numpy as np
import pytest

from anomalyvfm_opt.evaluation.linter.scores import (
    FALSE_ALARMS,
    check_constant,
    check_finite,
    check_inverted,
)
from anomalyvfm_opt.evaluation.scorer_bank import Scores


def wrap(**image: np.ndarray) -> Scores:
    return Scores(image, {})


def name_scenes(scenes: int, lights: int) -> list[str]:
    return [str(scene) for scene in range(scenes) for _ in range(lights)]


@pytest.mark.parametrize(("scenes", "lights"), [(3, 4), (8, 1), (15, 3)])
def test_scorers_that_guess_are_seldom_called_inverted(scenes: int, lights: int) -> None:
    """Five scorers that have nothing to do with the labels, on scenes whose lights score alike."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], scenes * lights)
    clusters = name_scenes(2 * scenes, lights)
    alarms = 0
    for _ in range(1000):
        scores = rng.normal(size=(5, 2 * scenes)).repeat(lights, axis=1) + 0.3 * rng.normal(size=(5, len(labels)))
        alarms += bool(check_inverted(wrap(**{f"s{i}": row for i, row in enumerate(scores)}), labels, clusters))
    assert alarms <= 1000 * FALSE_ALARMS


def test_an_inverted_scorer_is_named_and_the_others_are_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 12)
    good = rng.normal(2.0 * labels)
    found = check_inverted(wrap(decoder=good, predictor=-good), labels, name_scenes(24, 1))
    assert [finding.check for finding in found] == ["inverted"]
    assert "predictor" in found[0].message
    assert found[0].severity == "doubtful"


def test_few_scenes_are_never_enough_however_many_lights_they_have() -> None:
    """All 200 pairs of images are the wrong way round, and chance does that with four scenes a label."""
    labels = np.repeat([0, 1], 20)
    assert check_inverted(wrap(decoder=-labels.astype(float)), labels, name_scenes(8, 5)) == []
    assert len(check_inverted(wrap(decoder=-labels.astype(float)), labels, name_scenes(40, 1))) == 1
    assert check_inverted(wrap(decoder=-labels.astype(float)), labels, ["a"] * 20 + ["b"] * 20) == []


def test_constant_scores_are_found_whatever_their_level() -> None:
    rng = np.random.default_rng(0)
    varied = 1000 + rng.normal(size=20)
    found = check_constant(
        wrap(
            varied=varied,
            small=1e-9 * rng.normal(size=20),
            zero=np.zeros(20),
            nearly=np.where(np.arange(20) < 19, 1000.0, varied),
            rounded=1000 + 1e-7 * rng.normal(size=20),
        )
    )
    assert [finding.message.split()[0] for finding in found] == ["zero", "nearly", "rounded"]


def test_a_score_or_a_map_that_is_no_number_is_found() -> None:
    image, maps = np.ones(4), np.ones((4, 2, 2), np.float32)
    assert check_finite(Scores({"decoder": image}, {"decoder": maps})) == []
    bad_map, bad_image = maps.copy(), image.copy()
    bad_map[2, 0, 1], bad_image[:2] = np.inf, np.nan
    found = check_finite(Scores({"decoder": bad_image}, {"decoder": bad_map}))
    assert [finding.message.split(":")[0] for finding in found] == [
        "scores of decoder are not finite for 2 of 4 images; 0 are allowed",
        "maps of decoder are not finite for 1 of 4 images; 0 are allowed",
    ]
