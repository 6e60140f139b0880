"""What a gain costs: to find it once, and at every retraining and every image afterwards."""

from dataclasses import dataclass

UNIT_OF_MANY = "worker"  # of seconds that were spent on several kinds of device, or on one that is not known
_HOUR_S = 3600.0


def name_unit(device: str) -> str:
    """Return whose seconds a confirmation on this kind of device counts: `CPU`, `GPU` or `worker`.

    Args:
        device: as `name_device` has it; empty where it is not known.
    """
    if not device:
        return UNIT_OF_MANY
    return "CPU" if device.startswith("cpu") else "GPU"


@dataclass(frozen=True)
class ArmCost:
    """What one arm takes.

    Args:
        training_s: device-seconds of one retraining, the mean over seeds.
        inference_s: seconds of one image; None where it was not measured.
    """

    training_s: float
    inference_s: float | None


@dataclass(frozen=True)
class Roi:
    """What was spent to find the finalist, and what it costs to use beside the baseline.

    Args:
        search_s: device-seconds of the search, all trials.
        race_s: of the replicates that chose the finalist.
        confirmation_s: of all arms and seeds on the locked images.
        finalist: the arm that the search offers.
        baseline: the arm that it would replace.
        price_per_gpu_hour: in whatever currency; None: not said.
        unit: whose seconds these are, see `name_unit`.
    """

    search_s: float
    race_s: float
    confirmation_s: float
    finalist: ArmCost
    baseline: ArmCost
    price_per_gpu_hour: float | None = None
    unit: str = "GPU"

    @property
    def cost_ratio(self) -> float | None:
        """Return the ratio of training, finalist to baseline; None where the baseline trains nothing."""
        return _divide(self.finalist.training_s, self.baseline.training_s)

    @property
    def inference_ratio(self) -> float | None:
        """Return the ratio of inference, finalist to baseline; None where it was not measured."""
        return _divide(self.finalist.inference_s, self.baseline.inference_s)

    @property
    def dearest_ratio(self) -> float | None:
        """Return the larger of both, which `max_cost_ratio` limits.

        None where one is not known: it may be the larger.
        """
        training, inference = self.cost_ratio, self.inference_ratio
        return None if training is None or inference is None else max(training, inference)

    @property
    def spent_s(self) -> float:
        """Return the device-seconds of search, race and confirmation."""
        return self.search_s + self.race_s + self.confirmation_s

    def gain_per_gpu_hour(self, gain: float) -> float | None:
        """Return the AUROC gained for each hour of a device spent; None where nothing was spent."""
        return _divide(gain, self.spent_s / _HOUR_S)

    def money(self, seconds: float) -> float | None:
        """Return the price of so many device-seconds; None without a price of the hour."""
        return None if self.price_per_gpu_hour is None else seconds / _HOUR_S * self.price_per_gpu_hour


def describe_roi(roi: Roi, gain: float | None, currency: str, *, is_shown: bool = False) -> list[str]:
    """Say what was paid and what for, in plain sentences without full stops.

    Args:
        roi: what it cost.
        gain: the confirmed one, finalist minus baseline (AUROC); None where there is none.
        currency: that the price is in, such as EUR.
        is_shown: whether its interval lies above 0. A gain that is not shown is not one that was paid for.
    """
    return [
        _describe_ratio(roi, gain),
        *_describe_inference(roi),
        f"spent {_hours(roi.spent_s)} {roi.unit}-hours {_describe_yield(roi, gain, is_shown)}",
        f"of these {_hours(roi.search_s)} on the search, {_hours(roi.race_s)} on choosing the finalist,"
        f" {_hours(roi.confirmation_s)} on the confirmation",
        *_describe_money(roi, currency),
    ]


def _describe_ratio(roi: Roi, gain: float | None) -> str:
    shown = "a gain that is not known" if gain is None else f"{_auroc(gain)} AUROC"
    if roi.cost_ratio is None:
        return (
            f"{roi.finalist.training_s:.1f} {roi.unit}-seconds of training for {shown}, where the baseline trains"
            " nothing"
        )
    return f"{roi.cost_ratio:.2f}x the time for {shown}"


def _describe_inference(roi: Roi) -> list[str]:
    ours, others, ratio = roi.finalist.inference_s, roi.baseline.inference_s, roi.inference_ratio
    if ours is None or others is None or ratio is None:
        return []
    return [f"an image takes {1000 * ours:.1f} ms instead of {1000 * others:.1f} ms ({ratio:.2f}x)"]


def _describe_yield(roi: Roi, gain: float | None, is_shown: bool) -> str:
    if gain is None or gain <= 0 or not is_shown:
        return "for no gain that could be shown"
    rate = roi.gain_per_gpu_hour(gain)
    return f"for {_auroc(gain)} AUROC" + ("" if rate is None else f", {_auroc(rate)} for each")


def _describe_money(roi: Roi, currency: str) -> list[str]:
    spent = roi.money(roi.spent_s)
    ours, others = roi.money(roi.finalist.training_s), roi.money(roi.baseline.training_s)
    if spent is None or ours is None or others is None:
        return []
    return [
        f"at {roi.price_per_gpu_hour:.2f} {currency} a {roi.unit}-hour that is {spent:.2f} {currency};"
        f" each retraining is {ours:.3f} {currency} instead of {others:.3f} {currency}"
    ]


def _divide(value: float | None, by: float | None) -> float | None:
    return None if value is None or by is None or by == 0 else value / by


def _hours(seconds: float) -> str:
    """Show hours with two decimals, or with two digits where these would be noughts."""
    hours = seconds / _HOUR_S
    return f"{hours:.2f}" if hours >= 0.1 or hours == 0 else f"{hours:.2g}"


def _auroc(change: float) -> str:
    return f"{round(change, 4) + 0.0:+.4f}"  # no "-0.0000"
