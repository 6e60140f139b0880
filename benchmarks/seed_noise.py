"""Is the best trial beside v1.1 better than v1.1, or luckier? Retrain both with fresh seeds on the search data.

    python benchmarks/seed_noise.py SPEC/CATEGORY --data DIR [--seeds 3] [--db URL]

The peer is v1.1, in the same process on the same images. These are replicates on search data, whose noise the
search has already fitted itself to: a confirmation needs the lock split.
"""

import argparse
import statistics
from pathlib import Path

import optuna
import torch
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from anomalyvfm_opt.cli.serve import find_images
from anomalyvfm_opt.cli.store import open_store
from anomalyvfm_opt.cli.workbench import Workbench, load_backbone, open_arrays
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


def find_best(storage: RDBStorage, study: str, baseline: Parameters | None) -> Parameters:
    """The parameters of the best trial that is not the baseline itself."""
    trials = optuna.load_study(study_name=study, storage=storage).get_trials(states=(TrialState.COMPLETE,))
    rivals = [(t, Parameters(**t.user_attrs["parameters"])) for t in trials if "parameters" in t.user_attrs]
    trial, parameters = max(((t, p) for t, p in rivals if p != baseline), key=lambda rival: rival[0].value or 0.0)
    print(
        f"{study}: the best trial beside v1.1 is {trial.number} with {trial.value:.4f}: {parameters}", flush=True
    )
    return parameters


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
    baseline = reference_parameters("v1.1", record.category)
    best = find_best(store.storage, record.name, baseline)
    split = find_images(record, list_images(store.engine, record.study_id), options.data or Path(record.data_dir))
    backbone = load_backbone(record.spec, torch.device("cpu"))
    workbench = Workbench(record.spec, split, record.split_sha256, backbone, open_arrays(state_folder()))
    arms = {"v1.1": baseline, "best": best}
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
