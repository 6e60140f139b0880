"""What a gain costs, and that a gain that is not there reads as such."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.verdict.roi import ArmCost, Roi, describe_roi, name_unit

ROI = Roi(1440.0, 72.0, 360.0, ArmCost(145.0, 0.012), ArmCost(100.0, 0.010))
_SECONDS = st.floats(1e-3, 1e6)


def test_ratios_and_what_was_spent() -> None:
    assert ROI.cost_ratio == pytest.approx(1.45)
    assert ROI.inference_ratio == pytest.approx(1.2)
    assert ROI.dearest_ratio == pytest.approx(1.45)
    assert ROI.spent_s == 1872.0
    assert ROI.gain_per_gpu_hour(0.026) == pytest.approx(0.05)


@given(_SECONDS, _SECONDS, _SECONDS, _SECONDS)
def test_the_dearest_is_the_dearer_of_training_and_inference(a: float, b: float, c: float, d: float) -> None:
    roi = dataclasses.replace(ROI, finalist=ArmCost(a, b), baseline=ArmCost(c, d))
    assert roi.dearest_ratio == pytest.approx(max(a / c, b / d))


@pytest.mark.parametrize("baseline", [ArmCost(0.0, 0.01), ArmCost(100.0, 0.0), ArmCost(100.0, None)])
def test_what_cannot_be_divided_is_not_known(baseline: ArmCost) -> None:
    roi = dataclasses.replace(ROI, baseline=baseline)
    assert roi.dearest_ratio is None
    assert (roi.cost_ratio is None) == (baseline.training_s == 0)
    assert (roi.inference_ratio is None) == (not baseline.inference_s)
    assert describe_roi(roi, 0.02, "EUR")


def test_nothing_spent_has_no_yield() -> None:
    free = dataclasses.replace(ROI, search_s=0.0, race_s=0.0, confirmation_s=0.0)
    assert free.gain_per_gpu_hour(0.02) is None
    assert "spent 0.00 GPU-hours for +0.0200 AUROC" in describe_roi(free, 0.02, "EUR", is_shown=True)


def test_money_takes_a_price() -> None:
    assert ROI.money(3600.0) is None
    priced = dataclasses.replace(ROI, price_per_gpu_hour=2.5)
    assert priced.money(1800.0) == pytest.approx(1.25)
    assert not any("EUR" in line for line in describe_roi(ROI, 0.02, "EUR"))
    assert describe_roi(priced, 0.02, "EUR")[-1] == (
        "at 2.50 EUR a GPU-hour that is 1.30 EUR; each retraining is 0.101 EUR instead of 0.069 EUR"
    )


def test_the_first_experiment_in_one_sentence() -> None:
    assert "1.45x the time for -0.0009 AUROC" in describe_roi(ROI, -0.0009, "EUR")


@pytest.mark.parametrize(
    ("gain", "is_shown"), [(0.02, False), (-0.0009, False), (-0.05, True), (0.0, True), (None, False)]
)
def test_a_benefit_that_is_not_there_reads_as_such(gain: float | None, is_shown: bool) -> None:
    lines = describe_roi(ROI, gain, "EUR", is_shown=is_shown)
    assert "spent 0.52 GPU-hours for no gain that could be shown" in lines
    assert not any("for each" in line for line in lines)


def test_a_benefit_that_is_there_has_a_rate() -> None:
    lines = describe_roi(ROI, 0.026, "EUR", is_shown=True)
    assert "spent 0.52 GPU-hours for +0.0260 AUROC, +0.0500 for each" in lines
    assert "an image takes 12.0 ms instead of 10.0 ms (1.20x)" in lines
    assert "of these 0.40 on the search, 0.02 on choosing the finalist, 0.10 on the confirmation" in lines


def test_a_baseline_that_trains_nothing_has_no_ratio_to_read() -> None:
    roi = dataclasses.replace(ROI, baseline=ArmCost(0.0, 0.01))
    expected = "145.0 GPU-seconds of training for +0.0200 AUROC, where the baseline trains nothing"
    assert describe_roi(roi, 0.02, "EUR")[0] == expected


def test_small_figures_stay_readable() -> None:
    small = dataclasses.replace(ROI, search_s=1.0, race_s=0.0, confirmation_s=0.0)
    lines = describe_roi(small, -0.00001, "EUR")
    assert "spent 0.00028 GPU-hours for no gain that could be shown" in lines
    assert lines[0] == "1.45x the time for +0.0000 AUROC"
    assert describe_roi(small, None, "EUR")[0] == "1.45x the time for a gain that is not known"


@pytest.mark.parametrize(
    ("device", "unit"), [("cpu (x86_64)", "CPU"), ("cpu", "CPU"), ("NVIDIA A100", "GPU"), ("", "worker")]
)
def test_hours_are_those_of_the_device(device: str, unit: str) -> None:
    assert name_unit(device) == unit
    roi = dataclasses.replace(ROI, unit=unit, price_per_gpu_hour=2.5, baseline=ArmCost(0.0, 0.01))
    text = "; ".join(describe_roi(roi, 0.02, "EUR"))
    assert f"145.0 {unit}-seconds of training" in text
    assert f"spent 0.52 {unit}-hours" in text
    assert f"EUR a {unit}-hour" in text
    assert ("GPU" in text) == (unit == "GPU")
