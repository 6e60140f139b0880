"""Which scorer, which input? All scorers at several image sizes and in tiles, over many parameter sets and seeds.

    python benchmarks/levers.py SPEC --data DIR --out ROWS.jsonl [--category C ...] [--input 128 192/96 ...]
        [--sets 10] [--seeds 3] [--threads N] [--table]

The parameter sets are random points of the spec's space, the same for each category and input; `frozen` stands
beside them. Every trial is scored on the **search half** (`lock: half`) by all scorers at once. An input is a side
in pixels, or `SIDE/TILE`: an image of SIDE px seen in tiles of TILE px.

Rows go to ROWS.jsonl as they come, and those that are there are not made again: a killed run is resumed by the
same command. Several processes may share the file, each with categories or inputs of its own. `--table` prints
what is there, and runs nothing.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import open_arrays
from anomalyvfm_opt.data.split import Split, content_hashes, split_hash
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.home import state_folder
from anomalyvfm_opt.study.preparation import divide_categories, read_spec
from anomalyvfm_opt.trial.cost import draw_parameters
from retraining import fresh_seed, retrain
from rival_rows import Row, RowFile

INPUTS = ("96", "128", "192", "192/96")
SCORERS = ("predictor", "decoder", "mahalanobis", "patch_knn", "ensemble")
FROZEN = -1  # the number of the parameter set that is none


def set_input(spec: Spec, named: str) -> Spec:
    """The spec with another input: `128`, or `192/96` for tiles."""
    side, _, tile = named.partition("/")
    data: dict[str, Any] = {**spec.content()["data"], "image_size_px": int(side), "tiles": None}
    if tile:
        data["tiles"] = {"size_px": int(tile), "overlap_px": 0}
    return Spec.model_validate({**spec.content(), "data": data})


def run_trials(
    spec: Spec, split: Split, category: str, points: Sequence[Parameters], seeds: int, rows: RowFile, named: str
) -> None:
    """Run what is missing of one category at one input."""
    done = {
        (row["set"], row["seed"]) for row in rows.read() if (row["category"], row["input"]) == (category, named)
    }
    wanted = [(FROZEN, 0), *((number, seed) for seed in range(seeds) for number in range(len(points)))]
    wanted = [key for key in wanted if key not in done]
    if not wanted:
        return
    hashes = content_hashes(record for records in split.roles.values() for record in records)
    backbone = load_backbone(spec, torch.device("cpu"))
    bench = Workbench(spec, split, split_hash(split, hashes), backbone, open_arrays(state_folder()))
    for number, index in wanted:
        parameters = None if number == FROZEN else replace(points[number], image_size_px=spec.data.image_size_px)
        result = retrain(bench, parameters, fresh_seed(f"levers/{category}", index))
        row = {
            "category": category,
            "input": named,
            "set": number,
            "seed": index,
            "seconds": result.attributes["seconds"],
            "objectives": result.attributes["objectives"],
            "image_auroc": {name: metrics.image_auroc for name, metrics in result.metrics.items()},
            "au_pro_005": {name: metrics.au_pro_005 for name, metrics in result.metrics.items()},
        }
        rows.add(row)
        print(f"{category} {named} set {number} seed {index}: {row['image_auroc']}", flush=True)


def list_lines(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """A line a category and input: mean over sets and seeds of each scorer, and of the best of them."""
    for category in dict.fromkeys(row["category"] for row in rows):
        for named in dict.fromkeys(row["input"] for row in rows if row["category"] == category):
            chosen = [row for row in rows if (row["category"], row["input"]) == (category, named)]
            frozen = [row for row in chosen if row["set"] == FROZEN]
            trained = [row for row in chosen if row["set"] != FROZEN]
            if trained:
                cells = [_describe(trained, name) for name in SCORERS]
                rival = max(frozen[0]["image_auroc"].values()) if frozen else float("nan")
                seconds = statistics.mean(row["seconds"] for row in trained)
                yield category, named, f"{rival:.3f}", *cells, f"{seconds:.0f}", str(len(trained))


def _describe(rows: Sequence[Row], scorer: str) -> str:
    """Mean, SD between the sets' means, and SD between the seeds of a set."""
    by_set: dict[int, list[float]] = {}
    for row in rows:
        by_set.setdefault(row["set"], []).append(row["image_auroc"][scorer])
    means = [statistics.mean(values) for values in by_set.values()]
    within = [statistics.variance(values) for values in by_set.values() if len(values) > 1]
    seed_sd = f"{statistics.mean(within) ** 0.5:.3f}" if within else "-"
    set_sd = f"{statistics.stdev(means):.3f}" if len(means) > 1 else "-"
    return f"{statistics.mean(means):.3f} ({set_sd}; {seed_sd})"


def print_table(rows: Sequence[Row]) -> None:
    head = ("category", "input", "frozen", *SCORERS, "s", "trials")
    lines = [head, tuple("---" for _ in head), *list_lines(rows)]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--category", action="append", default=[])
    parser.add_argument("--input", action="append", default=[])
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = RowFile(options.out)
    if not options.table:
        spec, data = read_spec(options.spec, options.data, options.category)
        space = spec.search.space.model_copy(update={"image_size_px": ()})  # the input says it
        spec = spec.model_copy(update={"search": spec.search.model_copy(update={"space": space})})
        points = draw_parameters(space, spec.data.image_size_px, options.sets)
        splits = divide_categories(spec, data.expanduser().resolve(), options.category)
        for named in options.input or INPUTS:
            for category, split in splits.items():
                run_trials(set_input(spec, named), split, category, points, options.seeds, rows, named)
    print_table(rows.read())


if __name__ == "__main__":
    main()
