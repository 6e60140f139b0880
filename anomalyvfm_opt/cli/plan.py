"""`study plan`: print what a spec's studies would cost and could show."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from anomalyvfm_opt.cli.options import (
    CacheOption,
    CategoryOption,
    DatabaseOption,
    DataOption,
    DeviceOption,
    JsonOption,
    SpecArgument,
    ThreadsOption,
    WeightsOption,
)
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.tables import print_table
from anomalyvfm_opt.signals import end_as_interrupted

if TYPE_CHECKING:
    from anomalyvfm_opt.data.arrays import ArrayStore
    from anomalyvfm_opt.plan.reckoning import CategoryPlan, CostPlan
    from anomalyvfm_opt.trial.cost import Range
    from anomalyvfm_opt.verdict.resolution import Resolution, Resolutions

_TIMES = ("study", "trials left", "search", "race + confirmation", "total", "low - high")
_NEEDS = ("study", "images", "start", "cache", "locked g / b", "smallest gain")


def plan(
    file: SpecArgument,
    data: DataOption = None,
    category: CategoryOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    cache_gib: CacheOption = 64.0,
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a few steps on this device: trials, hours, disk, and the smallest gain the data could show.

    Nothing is written to the study store or the cache; images are decoded into the temporary folder, and weights
    that are not there yet are fetched. Times are those of one worker like the measured one: two need half of them.
    """
    from anomalyvfm_opt.study.preparation import read_spec

    spec, folder = read_spec(file, data, category or [])
    from anomalyvfm_opt.data.arrays import open_arrays
    from anomalyvfm_opt.model.device import choose_device
    from anomalyvfm_opt.plan.peek import peek_studies
    from anomalyvfm_opt.plan.reckoning import plan_studies
    from anomalyvfm_opt.store.home import locate_state_folder
    from anomalyvfm_opt.worker.device import limit_threads

    end_as_interrupted()
    limit_threads(threads)
    chosen = choose_device(device)
    cache = open_arrays(locate_state_folder(), cache_gib)
    studies = peek_studies(db)
    say(f"measuring a few steps of {spec.name} on {chosen} ...")
    found = plan_studies(spec, folder, category or [], chosen, cache, studies, weights, say)
    if as_json:
        print_json(to_json(found, str(chosen), cache.folder))
        return
    print_plan(found, "GPU" if chosen.type == "cuda" else "CPU", cache)


def print_plan(found: "CostPlan", unit: str, cache: "ArrayStore") -> None:
    """Print the plan as tables on stdout, with what it stands on."""
    from anomalyvfm_opt.report.resolution_text import describe_resolutions

    clock = (60.0, "minutes") if found.total_seconds.high < 7200 else (3600.0, "hours")
    times = [_list_times(study, clock[0]) for study in found.studies]
    needs = [_list_needs(study, found.resolutions) for study in found.studies]
    if len(found.studies) > 1:
        times.append(
            ("total", "", *_show_times(found.seconds, found.confirm_seconds, found.total_seconds, clock[0]))
        )
        mean = _show_gain(found.resolutions.mean) if found.resolutions.is_whole else "-"
        needs.append(("mean", "", "", _show_bytes(found.cache_bytes + found.output_bytes), "", mean))
    print_table(f"Expected {clock[1]} of one worker on one {unit}", _TIMES, times, right=(1, 2, 3, 4, 5))
    typer.echo()
    print_table("What it takes, and what it could show", _NEEDS, needs, right=(2, 3, 4, 5))
    for line in describe_resolutions(found.resolutions):
        say(line)
    costs = found.probe.costs
    (own, making), *_ = found.probe.making.items()
    say(
        f"measured on {found.measured_on}: {costs.step:.3g} s a step, {costs.scoring:.3g} s to score an epoch,"
        f" {making.decode_s:.3g} s to decode an image"
    )
    for size, factors in costs.sizes.items():
        if size != own:
            say(
                f"that is at {own} px; at {size} px a step takes {factors.step:.2f} times as long, and to score"
                f" {factors.scoring:.2f} times"
            )
    say(_describe_disk(found.cache_bytes, found.output_bytes, cache))


def to_json(found: "CostPlan", device: str, folder: Path) -> dict[str, Any]:
    """Return the `study plan --json` object (schema 1)."""
    from dataclasses import asdict

    making = next(iter(found.probe.making.values()))
    return {
        "schema": 1,
        "device": device,
        "studies": [
            {
                "name": study.name,
                "trials": study.trials,
                "done": study.done,
                "seconds": asdict(study.seconds),
                "confirm_seconds": asdict(study.confirm_seconds),
                "total_seconds": asdict(study.total_seconds),
                "start_seconds": study.start_seconds,
                "cache_bytes": study.cache_bytes,
                "output_images": study.outputs.images,
                "output_bytes": study.outputs.n_bytes,
                "is_decoded": study.is_decoded,
                "images": _describe_images(study),
                "locked_scenes": {"good": study.locked_scenes[0], "bad": study.locked_scenes[1]},
                **_gain_to_json(found.resolutions.each[study.category]),
            }
            for study in found.studies
        ],
        "total": {
            "seconds": asdict(found.seconds),
            "confirm_seconds": asdict(found.confirm_seconds),
            "total_seconds": asdict(found.total_seconds),
            "cache_bytes": found.cache_bytes,
            "output_bytes": found.output_bytes,
            **_gain_to_json(found.resolutions.mean),
        },
        "measured": {
            "category": found.measured_on,
            "step_seconds": found.probe.costs.step,
            "scoring_seconds": found.probe.costs.scoring,
            "decode_seconds": making.decode_s,
            "anomaly_seconds": making.anomaly_s,
            "sizes": {str(size): asdict(factors) for size, factors in found.probe.costs.sizes.items()},
        },
        "cache_folder": str(folder),
    }


def _gain_to_json(resolution: "Resolution | None") -> dict[str, float | None]:
    return {
        "half_width": resolution.half_width if resolution else None,
        "smallest_gain": resolution.smallest_gain if resolution else None,
    }


def _list_times(study: "CategoryPlan", unit_s: float) -> tuple[str, ...]:
    left = f"{max(0, study.trials - study.done)} of {study.trials}"
    times = (study.search_seconds, study.confirm_seconds, study.total_seconds)
    return (study.name, left, *_show_times(*times, unit_s))


def _show_times(search: "Range", after: "Range", total: "Range", unit_s: float) -> tuple[str, ...]:
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


def _list_needs(study: "CategoryPlan", resolutions: "Resolutions") -> tuple[str, ...]:
    good, bad = study.locked_scenes
    return (
        study.name,
        _describe_images(study),
        f"{study.start_seconds:.0f} s",
        _show_bytes(study.cache_bytes + study.outputs.n_bytes),
        f"{good} / {bad}",
        _show_gain(resolutions.each[study.category]),
    )


def _describe_images(study: "CategoryPlan") -> str:
    return " or ".join(geometry.describe() for geometry in study.geometries)


def _show_bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _show_gain(resolution: "Resolution | None") -> str:
    return "too few scenes" if resolution is None else f"{resolution.smallest_gain:.3f}"


def _describe_disk(arrays: int, outputs: int, cache: "ArrayStore") -> str:
    """Return how the need of arrays and of outputs compares with the cache's bound and the free disk."""
    import shutil

    from anomalyvfm_opt.data.room import measure_outputs

    if cache.max_bytes == 0:
        return (
            f"memory: {_show_bytes(arrays)} in each worker, as nothing is kept on disk (--cache-gib 0); frozen"
            " blocks run anew in each trial"
        )
    place = next(path for path in (cache.folder, *cache.folder.parents) if path.is_dir())
    kept = sum(path.stat().st_size for path in cache.folder.glob("*.npy"))
    room = min(cache.max_bytes, shutil.disk_usage(place).free + kept + measure_outputs(cache.folder)[1])
    warning = ""
    if arrays + outputs > room:
        warning = ": NOT ENOUGH, what frozen blocks give is computed anew where it finds no room"
    if arrays > room:
        warning = ": NOT ENOUGH, the arrays unused the longest are made anew each time"
    return (
        f"disk: {_show_bytes(arrays)} of images, {_show_bytes(outputs)} of what frozen blocks make of them, room"
        f" for {_show_bytes(room)} at {place}{warning}"
    )
