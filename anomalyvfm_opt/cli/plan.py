"""`study plan`: print what a spec's studies would cost and could show."""

from anomalyvfm_opt.cli.options import (
    CacheOption,
    CategoryOption,
    DatabaseOption,
    DeviceOption,
    JsonOption,
    NewDataOption,
    SpecArgument,
    ThreadsOption,
    WeightsOption,
)
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.tables import print_parts
from anomalyvfm_opt.signals import end_as_interrupted


def plan(
    file: SpecArgument,
    data: NewDataOption = None,
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
    from anomalyvfm_opt.plan.plan_json import to_json
    from anomalyvfm_opt.plan.plan_text import describe_plan, tabulate_plan
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
    print_parts(tabulate_plan(found, "GPU" if chosen.type == "cuda" else "CPU"))
    for line in describe_plan(found, cache):
        say(line)
