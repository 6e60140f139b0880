"""Trials outside a study, with fresh seeds: what benchmarks that retrain parameters have in common."""

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from anomalyvfm_opt.bench.benches import Benches
from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.trial.result import TrialRequest, TrialResult
from anomalyvfm_opt.trial.seeds import derive_seed


class Silent:
    """Progress that nobody watches."""

    def check(self) -> None:
        pass

    def begin_step(self) -> None:
        pass

    def resume(self, epoch: int) -> None:
        pass

    def finish_epoch(self, epoch: int, loss: float) -> None:
        pass

    def report(self, epoch: int, value: float) -> None:
        pass


def find_best(
    storage: RDBStorage, study: str, own_size_px: int, beside: Parameters | None = None
) -> tuple[FrozenTrial, Parameters]:
    """The best complete trial of a study that trained something, and its parameters.

    Args:
        storage: that the study is in.
        study: its name.
        own_size_px: the image size of its spec.
        beside: parameters that do not count.
    """
    trials = optuna.load_study(study_name=study, storage=storage).get_trials(states=(TrialState.COMPLETE,))
    rivals = [
        (t, Parameters.from_json(t.user_attrs["parameters"], own_size_px))
        for t in trials
        if "parameters" in t.user_attrs
    ]
    rivals = [(trial, parameters) for trial, parameters in rivals if parameters != beside]
    if not rivals:
        raise SystemExit(f"{study} has no complete trial to retrain; run its workers first")
    return max(rivals, key=lambda rival: rival[0].value or 0.0)


def fresh_seed(study: str, index: int) -> int:
    """A training seed that no trial of a study had, the same for all arms."""
    return derive_seed("fresh", study, index)


def make_request(parameters: Parameters | None, seed: int) -> TrialRequest:
    """The request for a trial outside of a study, of which only the last epoch is scored."""
    return TrialRequest(number=-1, parameters=parameters, seed=seed, is_watched=False)


def retrain(bench: Workbench | Benches, parameters: Parameters | None, seed: int) -> TrialResult:
    """Run parameters (None: the frozen detector) with a seed; only the last epoch is scored."""
    request = make_request(parameters, seed)
    return bench.run(request, Silent()) if isinstance(bench, Benches) else run_trial(bench, request, Silent())
