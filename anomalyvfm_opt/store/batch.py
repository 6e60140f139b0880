"""All parameters or several attributes of a running trial in one write, where Optuna's Trial writes one by one."""

import copy
from collections.abc import Container, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from anomalyvfm_opt.store.direct import DirectStorage


def suggest_all(trial: optuna.Trial, distributions: Mapping[str, BaseDistribution]) -> None:
    """Suggest parameters as `study.ask(distributions)` does, from one reading of the study and in one write.

    Other workers see all parameters of the trial or none. Nothing is written if a suggestion fails.

    Args:
        trial: that was just asked for.
        distributions: name -> distribution.

    Raises:
        UpdateFinishedTrialError: the trial was taken over meanwhile.
        ValueError: a distribution does not go with the study's.
    """
    study, cache = trial.study, trial.storage
    reading = _OneReading(cache)
    trial.storage = study._storage = reading  # type: ignore[assignment]
    try:
        for name, distribution in distributions.items():
            trial._suggest(name, distribution)
    finally:
        trial.storage = study._storage = cache
    find_storage(study).set_suggested(study._study_id, trial._trial_id, reading.parameters)


def set_attributes(trial: optuna.Trial, attributes: Mapping[str, Any]) -> None:
    """Set user attributes in one transaction.

    Raises:
        UpdateFinishedTrialError: the trial was taken over meanwhile.
    """
    find_storage(trial.study).set_trial_user_attrs(trial._trial_id, attributes)
    trial._cached_frozen_trial.user_attrs.update(attributes)  # as Trial.set_user_attr does


def reload(trial: optuna.Trial) -> None:
    """Read anew what the store knows of a trial, after a write of which nobody knows whether it arrived."""
    trial._cached_frozen_trial = find_storage(trial.study).get_trial(trial._trial_id)


def find_storage(study: optuna.Study) -> DirectStorage:
    """The study store beneath the cache that `optuna.load_study` puts before it.

    Raises:
        TypeError: the study lies in another kind of storage.
    """
    storage = getattr(study._storage, "_backend", study._storage)
    if not isinstance(storage, DirectStorage):
        raise TypeError(f"a study in {type(storage).__name__}, not in the study store")
    return storage


class _OneReading:
    """Stands before a study's storage: reads its trials once, and keeps the parameters that are to be written.

    TPE with the constant liar reads and sorts all trials again for each parameter.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._trials: dict[tuple[int, tuple[TrialState, ...]], list[FrozenTrial]] = {}
        self.parameters: dict[str, tuple[float, BaseDistribution]] = {}

    def set_trial_param(self, _trial_id: int, name: str, value: float, distribution: BaseDistribution) -> None:
        """Keep one; Trial itself sees to it that no name comes twice."""
        self.parameters[name] = (value, distribution)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The study's trials, as they were when first asked for."""
        wanted = tuple(state for state in TrialState if states is None or state in states)
        if (study_id, tuple(TrialState)) not in self._trials:
            everything = self._storage.get_all_trials(study_id, deepcopy=False)
            self._trials[study_id, tuple(TrialState)] = everything
        if (study_id, wanted) not in self._trials:
            everything = self._trials[study_id, tuple(TrialState)]
            self._trials[study_id, wanted] = [trial for trial in everything if trial.state in wanted]
        found = self._trials[study_id, wanted]
        return copy.deepcopy(found) if deepcopy else list(found)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)
