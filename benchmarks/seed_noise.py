"""Is the best trial better than v1.1, or luckier? Retrain both with fresh seeds on the search data.

    python benchmarks/seed_noise.py SPEC/CATEGORY --data DIR [--seeds 3] [--db URL]

The peer is v1.1, in the same process on the same images. These are replicates on search data, whose noise the
search has already fitted itself to: a confirmation needs the lock split.
"""

import argparse
import statistics
from pathlib import Path

import torch

from anomalyvfm_opt.cli.serve import find_images
from anomalyvfm_opt.cli.store import open_store
from anomalyvfm_opt.cli.workbench import Workbench, load_backbone, open_arrays
from anomalyvfm_opt.report.summary import summarise
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.store.home import state_folder
from anomalyvfm_opt.store.studies import list_images, load_study
from anomalyvfm_opt.trial.result import TrialRequest
from anomalyvfm_opt.trial.space import derive_seed


class Silent:
    """Progress that nobody watches."""

    def check(self) -> None:
        pass

    def report(self, epoch: int, value: float) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--db")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    store = open_store(options.db)
    record = load_study(store.engine, options.study)
    summary = summarise(store.storage, store.engine, record)
    if summary.best is None or not summary.best.params:
        raise SystemExit(f"{record.name}: the best trial has no adapter, so there is nothing to retrain")
    split = find_images(record, list_images(store.engine, record.study_id), options.data or Path(record.data_dir))
    backbone = load_backbone(record.spec, torch.device("cpu"))
    workbench = Workbench(record.spec, split, record.split_sha256, backbone, open_arrays(state_folder()))
    best = Parameters(**{k: v for k, v in summary.best.params.items() if k != "alpha"})
    arms = {"v1.1": reference_parameters("v1.1", record.category), "best": best}
    print(f"{record.name}: best trial {summary.best.number} had {summary.best.value:.4f}: {best}")
    for name, parameters in arms.items():
        values = []
        for seed in range(options.seeds):
            fresh = derive_seed("fresh", record.name, seed)  # no trial's seed, and the same for both arms
            result = workbench.run(TrialRequest(-1, parameters, fresh, is_watched=False), Silent())
            values.append(result.value)
            print(f"  {name} seed {seed}: {result.value:.4f} by {result.attributes['scorer']}", flush=True)
        print(
            f"{record.name} {name}: mean {statistics.mean(values):.4f}, SD {statistics.stdev(values):.4f},"
            f" {options.seeds} fresh seeds",
            flush=True,
        )


if __name__ == "__main__":
    main()
