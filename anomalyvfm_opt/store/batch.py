"""All parameters or several attributes of a running trial in one write, where Optuna's Trial writes one by one."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage

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
    storage = find_storage(trial.study)
    pending = _PendingParameters(trial.storage)
    trial.storage = pending  # type: ignore[assignment]
    try:
        with storage.reading_once():
            for name, distribution in distributions.items():
                trial._suggest(name, distribution)
    finally:
        trial.storage = pending.storage
    storage.set_suggested(trial.study._study_id, trial._trial_id, pending.parameters)


def set_attributes(trial: optuna.Trial, attributes: Mapping[str, Any]) -> None:
    """Set user attributes in one transaction.

    Raises:
        UpdateFinishedTrialError: the trial was taken over meanwhile.
    """
    find_storage(trial.study).set_trial_user_attrs(trial._trial_id, attributes)
    trial._cached_frozen_trial.user_attrs.update(attributes)  # as Trial.set_user_attr does


def find_storage(study: optuna.Study) -> DirectStorage:
    """The study store beneath the cache that `optuna.load_study` puts before it.

    Raises:
        TypeError: the study lies in another kind of storage.
    """
    storage = getattr(study._storage, "_backend", study._storage)
    if not isinstance(storage, DirectStorage):
        raise TypeError(f"a study in {type(storage).__name__}, not in the study store")
    return storage


class _PendingParameters:
    """Stands before a trial's storage and keeps the parameters that are to be written."""

    def __init__(self, storage: BaseStorage) -> None:
        self.storage = storage
        self.parameters: dict[str, tuple[float, BaseDistribution]] = {}

    def set_trial_param(self, _trial_id: int, name: str, value: float, distribution: BaseDistribution) -> None:
        """Keep one; Trial itself sees to it that no name comes twice."""
        self.parameters[name] = (value, distribution)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)
