"""Second views of a verdict, which decide nothing: the bootstrap, AU-PRO, each light, and the frozen network."""

from dataclasses import replace

from anomalyvfm_opt.evaluation.lights import LightGain
from anomalyvfm_opt.report.grid import Grid
from anomalyvfm_opt.report.verdict_text import describe
from anomalyvfm_opt.store.confirmation_plan import FINALIST
from anomalyvfm_opt.verdict.judge import CategoryVerdict, Gain
from tests.unit.report.verdicts import ADOPTED, make_verdict

FOUND = make_verdict()
LIGHT = LightGain(estimate=0.1, low=0.0, high=0.2, good_scenes=5, bad_scenes=6)


def list_views(found: CategoryVerdict) -> list[tuple[str, ...]]:
    (grid,) = (part for part in describe(found) if isinstance(part, Grid) and not part.title)
    return list(grid.rows)


def test_second_views_are_listed_and_one_light_alone_is_none() -> None:
    found = replace(FOUND, bootstrap=Gain(0.15, 0.1, 0.2), au_pro=None, frozen={}, lights={"dark": LIGHT})
    crossed = ("tile", "image AUROC, crossed bootstrap", "+0.1500", "+0.1000", "+0.2000")
    assert list_views(found) == [crossed]
    two = {"dark": LIGHT, "regular": replace(LIGHT, estimate=-0.1)}
    assert list_views(replace(found, lights=two)) == [
        crossed,
        ("tile", "image AUROC under dark (5 / 6 scenes)", "+0.1000", "+0.0000", "+0.2000"),
        ("tile", "image AUROC under regular (5 / 6 scenes)", "-0.1000", "+0.0000", "+0.2000"),
    ]
    bare = describe(replace(found, bootstrap=None))
    assert not any(isinstance(part, Grid) and part.columns[1].startswith("second") for part in bare)


def test_maps_of_two_sizes_are_told_apart() -> None:
    evidence = FOUND.evidence
    finalist = evidence.arms[FINALIST]
    assert finalist.plan.parameters is not None
    large = replace(finalist.plan, parameters=replace(finalist.plan.parameters, image_size_px=128))
    arms = {**evidence.arms, FINALIST: replace(finalist, plan=large)}
    found = replace(FOUND, bootstrap=None, frozen={}, au_pro=Gain(0.02, 0.0, 0.03))
    assert list_views(found)[0][1] == "AU-PRO 0.05, crossed bootstrap"
    found = replace(found, evidence=replace(evidence, arms=arms))
    assert list_views(found)[0][1].endswith("(finalist at 128 px, baseline at 64 px)")


def test_the_frozen_network_is_a_view_of_each_arm_and_has_the_rulings_own_level() -> None:
    assert FOUND.difference is not None
    low, high = FOUND.difference.interval(0.95, 4)
    shown = replace(FOUND, frozen={FINALIST: FOUND.difference}, ruling=replace(ADOPTED, judged=4))
    assert list_views(shown)[-1] == (
        "tile",
        "image AUROC, finalist - frozen",
        "+0.1500",
        f"{low:+.4f}",
        f"{high:+.4f}",
    )
