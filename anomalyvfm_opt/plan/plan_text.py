"""What `study plan` found, in tables and sentences."""

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.plan.disk import describe_disk, measure_room, show_bytes
from anomalyvfm_opt.plan.reckoning import CategoryPlan, CostPlan
from anomalyvfm_opt.report.grid import Grid
from anomalyvfm_opt.report.resolution_text import describe_resolutions
from anomalyvfm_opt.trial.cost import Range
from anomalyvfm_opt.verdict.resolution import Resolution, Resolutions

_TIMES = ("study", "trials left", "search", "race + confirmation", "total", "low - high")
_NEEDS = ("study", "images", "start", "cache", "locked g / b", "smallest gain")


def tabulate_plan(found: CostPlan, unit: str) -> tuple[Grid, Grid]:
    """Return the plan as two tables: of the time, in minutes or hours, and of what it takes and could show.

    Args:
        found: the plan.
        unit: what one worker runs on, for people: `GPU` or `CPU`.
    """
    clock = (60.0, "minutes") if found.total_seconds.high < 7200 else (3600.0, "hours")
    times = [_list_times(study, clock[0]) for study in found.studies]
    needs = [_list_needs(study, found.resolutions) for study in found.studies]
    if len(found.studies) > 1:
        times.append(
            ("total", "", *_show_times(found.seconds, found.confirm_seconds, found.total_seconds, clock[0]))
        )
        mean = _show_gain(found.resolutions.mean) if found.resolutions.is_whole else "-"
        needs.append(("mean", "", "", show_bytes(found.cache_bytes + found.output_bytes), "", mean))
    return (
        Grid(f"Expected {clock[1]} of one worker on one {unit}", _TIMES, times, right=(1, 2, 3, 4, 5)),
        Grid("What it takes, and what it could show", _NEEDS, needs, right=(2, 3, 4, 5)),
    )


def describe_plan(found: CostPlan, cache: ArrayStore) -> list[str]:
    """Return what the plan stands on, a line each: what could be shown, what was measured, how the disk is."""
    costs = found.probe.costs
    (own, making), *_ = found.probe.making.items()
    lines = [
        *describe_resolutions(found.resolutions),
        f"measured on {found.measured_on}: {costs.step:.3g} s a step, {costs.scoring:.3g} s to score an epoch,"
        f" {making.decode_s:.3g} s to decode an image",
    ]
    lines += [
        f"that is at {own} px; at {size} px a step takes {factors.step:.2f} times as long, and to score"
        f" {factors.scoring:.2f} times"
        for size, factors in costs.sizes.items()
        if size != own
    ]
    return [*lines, describe_disk(found.cache_bytes, found.output_bytes, measure_room(cache))]


def _list_times(study: CategoryPlan, unit_s: float) -> tuple[str, ...]:
    left = f"{max(0, study.trials - study.done)} of {study.trials}"
    times = (study.search_seconds, study.confirm_seconds, study.total_seconds)
    return (study.name, left, *_show_times(*times, unit_s))


def _show_times(search: Range, after: Range, total: Range, unit_s: float) -> tuple[str, ...]:
    """Return what is expected of the search, of what follows it, and of both, and the range of this.

    Args:
        search: seconds, as are the others.
        after: of race and confirmation.
        total: of both.
        unit_s: what they are shown in.
    """
    seconds = (search.expected, after.expected, total.expected, total.low, total.high)
    one, two, both, low, high = (f"{value / unit_s:.3g}" for value in seconds)
    return one, two, both, f"{low} - {high}"


def _list_needs(study: CategoryPlan, resolutions: Resolutions) -> tuple[str, ...]:
    good, bad = study.locked_scenes
    return (
        study.name,
        study.describe_images(),
        f"{study.start_seconds:.0f} s",
        show_bytes(study.cache_bytes + study.outputs.n_bytes),
        f"{good} / {bad}",
        _show_gain(resolutions.each[study.category]),
    )


def _show_gain(resolution: Resolution | None) -> str:
    return "too few scenes" if resolution is None else f"{resolution.smallest_gain:.3f}"
