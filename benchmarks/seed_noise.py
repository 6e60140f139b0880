"""Is the best trial beside v1.1 better than v1.1, or luckier? Retrain both with fresh seeds on the search data.

    python benchmarks/seed_noise.py SPEC/CATEGORY --data DIR [--seeds 3] [--db URL]

The peer is v1.1, in the same process on the same images. These are replicates on search data, whose noise the
search has already fitted itself to: a confirmation needs the lock split.
"""

import argparse
import statistics
from pathlib import Path

import torch

from anomalyvfm_opt.bench.backbones import Backbones
from anomalyvfm_opt.bench.benches import Benches
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import open_arrays
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.home import state_folder
from anomalyvfm_opt.store.store import open_store
from anomalyvfm_opt.store.studies import load_study
from anomalyvfm_opt.worker.images import find_images
from retraining import find_best, fresh_seed, retrain


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
    baseline = record.spec.reference("v1.1", record.category)
    trial, best = find_best(store.storage, record.name, record.spec.data.image_size_px, beside=baseline)
    print(
        f"{record.name}: the best trial beside v1.1 is {trial.number} with {trial.value:.4f}: {best}", flush=True
    )
    split = find_images(record, list_images(store.engine, record.study_id), options.data or Path(record.data_dir))
    device, arrays = torch.device("cpu"), open_arrays(state_folder())
    backbones = Backbones(device, None)

    def build(spec: Spec) -> Workbench:
        return Workbench(
            spec,
            split,
            record.split_sha256,
            backbones.open_for(record, spec),
            arrays,
        )

    benches = Benches(record.spec, build, device)
    for name, parameters in {"v1.1": baseline, "best": best}.items():
        values = []
        for seed in range(options.seeds):
            result = retrain(benches, parameters, fresh_seed(record.name, seed))
            values.append(result.value)
            print(f"  {name} seed {seed}: {result.value:.4f} by {result.attributes['scorer']}", flush=True)
        print(
            f"{record.name} {name}: mean {statistics.mean(values):.4f}, SD {statistics.stdev(values):.4f},"
            f" {options.seeds} fresh seeds",
            flush=True,
        )


if __name__ == "__main__":
    main()
