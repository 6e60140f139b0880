"""All parameters or several attributes of a running trial in one write, where Optuna's Trial writes one by one."""

import copy
from collections.abc import Container, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from anomalyvfm_opt.store.direct import DirectStorage
from anomalyvfm_opt.store.optuna_private import (
    find_uncached,
    note_attributes,
    read_study_id,
    read_trial_id,
    reading_from,
    replace_state,
    suggest,
)


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
    reading = _OneReading(trial.storage)
    with reading_from(trial, reading):
        for name, distribution in distributions.items():
            suggest(trial, name, distribution)
    storage = find_direct(trial.study)
    storage.set_suggested(read_study_id(trial.study), read_trial_id(trial), reading.parameters)


def set_attributes(trial: optuna.Trial, attributes: Mapping[str, Any]) -> None:
    """Set user attributes in one transaction.

    Raises:
        UpdateFinishedTrialError: the trial was taken over meanwhile.
    """
    find_direct(trial.study).set_trial_user_attrs(read_trial_id(trial), attributes)
    note_attributes(trial, attributes)


def reload(trial: optuna.Trial) -> None:
    """Read anew what the store knows of a trial, after a write of which nobody knows whether it arrived."""
    replace_state(trial, find_direct(trial.study).get_trial(read_trial_id(trial)))


def find_direct(study: optuna.Study) -> DirectStorage:
    """Return the study store beneath the cache that `optuna.load_study` puts before it.

    Raises:
        TypeError: the study lies in another kind of storage.
    """
    storage = find_uncached(study)
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
        """Return the study's trials, as they were when first asked for."""
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
