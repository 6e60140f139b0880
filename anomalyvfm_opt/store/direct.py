"""Optuna's storage on PostgreSQL with the calls of every trial as plain SQL.

Optuna's own class takes some 95 statements and 27 transactions for a trial, most of the time in its ORM. Here each
call is one statement, or a few sent together, in one transaction. Tables, refusals and what every Optuna tool
reads afterwards stay the same; what is not overridden (studies, heartbeats, versions) is Optuna's.
"""

import copy
import random
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, TextClause
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from anomalyvfm_opt.store import trial_writes as writes
from anomalyvfm_opt.store.engine import autocommit
from anomalyvfm_opt.store.optuna_private import describe_missing, hooked, number_trial
from anomalyvfm_opt.store.trial_rows import build_trial, read_distribution, start_trial
from anomalyvfm_opt.store.trial_sql import COUNT_TRIALS, SELECT_TRIAL, select_trials, to_local

_most: ContextVar[int | None] = ContextVar("most", default=None)
_ATTEMPTS = 5  # as Optuna: a trial's creation outlives a short outage


@contextmanager
def reading_at_most(trials: int) -> Iterator[None]:
    """Let `read_trials` give at most so many trials that were not listed, those with the lowest ids.

    A cache before the storage asks for more each time, and so grows by that many.
    """
    token = _most.set(trials)
    try:
        yield
    finally:
        _most.reset(token)


@hooked
class DirectStorage(RDBStorage):
    """Optuna's storage on PostgreSQL, with few statements a trial.

    Args:
        arguments: those of `RDBStorage`.
        reads_user_attributes: False leaves user attributes out where many trials are read at once. Nobody who
            samples or prunes looks at them, and they are most of what a study holds. One trial has them always.
        options: those of `RDBStorage`.
    """

    def __init__(self, *arguments: Any, reads_user_attributes: bool = True, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reads_user_attributes = reads_user_attributes
        self._distributions: dict[int, dict[str, BaseDistribution]] = {}  # study -> what its parameters go by

    def insert_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        """Store a new trial, a running one or as a template stands, and return it with its number and id."""
        # A new trial of an answer that was lost is found without a lease; a second copy of a template would run.
        attempts = _ATTEMPTS if template_trial is None else 1
        for attempt in range(1, attempts + 1):
            try:
                return self._create(study_id, template_trial)
            except StorageInternalError:
                if attempt == attempts:
                    raise
                time.sleep(random.random() * 2.0)  # noqa: S311
        raise AssertionError

    def _create(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        trial = copy.deepcopy(template) if template is not None else start_trial()
        parameters = {
            name: (trial.distributions[name].to_internal_repr(value), trial.distributions[name])
            for name, value in trial.params.items()
        }
        with self._connect() as connection:
            self._check_distributions(connection, study_id, parameters, {})
            statement = writes.CREATE if template is None else writes.CREATE_LIKE
            content = writes.describe_trial(trial, parameters)
            created = connection.execute(statement, {"study_id": study_id, **content}).one_or_none()
        if created is None:
            raise KeyError(describe_missing())
        number_trial(trial, created.number, created.trial_id)
        trial.datetime_start = to_local(created.datetime_start)
        return trial

    def set_trial_parameter(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        """Write one parameter of a trial; see `set_trial_params`."""
        known = {} if previous_distribution is None else {param_name: previous_distribution}
        self.set_trial_params(trial_id, {param_name: (param_value_internal, distribution)}, known)

    def set_trial_params(
        self, trial_id: int, parameters: writes.Suggested, known: Mapping[str, BaseDistribution] | None = None
    ) -> None:
        """Write several parameters of a trial in one transaction; those that it has stay as they are.

        Args:
            trial_id: of a trial that is not finished.
            parameters: name -> value in the distribution's internal form, and the distribution.
            known: name -> a distribution that the study has for it; the others are looked up.

        Raises:
            KeyError: no such trial.
            UpdateFinishedTrialError: it is finished.
            ValueError: a distribution does not go with the study's.
        """
        known = known or {}
        with self._connect(ignores_conflicts=True) as connection:
            if not _are_known(known, parameters):
                row = connection.execute(writes.READ_STATE, {"trial_id": trial_id}).one_or_none()
                if row is None:
                    raise KeyError(describe_missing())
                self._check_updatable(trial_id, row.state)  # comes first, as in Optuna
                self._check_distributions(connection, row.study_id, parameters, known)
            self._write(connection, writes.SET_PARAMETERS, trial_id, writes.describe_parameters(parameters))

    def set_suggested(self, study_id: int, trial_id: int, parameters: writes.Suggested) -> None:
        """Write parameters as `set_trial_params` does, and look each distribution of the study up only once."""
        known = self._distributions.setdefault(study_id, {})
        self.set_trial_params(trial_id, parameters, known)
        known.update({name: distribution for name, (_, distribution) in parameters.items() if name not in known})

    def _check_distributions(
        self,
        connection: Connection,
        study_id: int,
        parameters: writes.Suggested,
        known: Mapping[str, BaseDistribution],
    ) -> None:
        """Compare with what any trial of the study has, as Optuna does."""
        unknown = [name for name in parameters if name not in known]
        found = {}
        if unknown:
            rows = connection.execute(writes.FIND_DISTRIBUTIONS, {"study_id": study_id, "names": unknown})
            found = {name: read_distribution(text) for name, text in rows}
        for name, distribution in {**found, **known}.items():
            if name in parameters:
                check_distribution_compatibility(distribution, parameters[name][1])

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write one user attribute of a trial; see `set_trial_user_attrs`."""
        self.set_trial_user_attrs(trial_id, {key: value})

    def set_trial_user_attrs(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        """Write several user attributes of a trial in one transaction; those that it has are overwritten.

        Raises:
            KeyError: no such trial.
            UpdateFinishedTrialError: it is finished.
        """
        with self._connect(ignores_conflicts=True) as connection:
            self._write(
                connection, writes.SET_USER_ATTRIBUTES, trial_id, writes.describe_user_attributes(attributes)
            )

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write one of Optuna's own attributes of a trial."""
        with self._connect(ignores_conflicts=True) as connection:
            content = writes.describe_system_attributes({key: value})
            self._write(connection, writes.SET_SYSTEM_ATTRIBUTES, trial_id, content)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Write a value at a step, which may be infinite or NaN."""
        with self._connect(ignores_conflicts=True) as connection:
            content = writes.describe_steps({step: intermediate_value})
            self._write(connection, writes.SET_STEPS, trial_id, content)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set a trial's state; False if it was to be RUNNING and another has taken it."""
        content = {"state": state.name, **writes.describe_values(values or ())}
        try:
            with self._connect() as connection:
                was = self._write(connection, writes.SET_STATE, trial_id, content)
        except IntegrityError:
            return False
        return state is not TrialState.RUNNING or was == TrialState.WAITING.name

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id behind a number, which counts from 0 in each study."""
        with self._connect() as connection:
            ids = connection.scalars(writes.FIND_NUMBER, {"study_id": study_id, "number": trial_number}).all()
        if not ids:
            raise KeyError(f"No trial with trial number {trial_number} exists in study with study_id {study_id}.")
        return int(ids[0])

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return one trial with all that belongs to it."""
        with self._connect() as connection:
            row = connection.execute(SELECT_TRIAL, {"trial_id": trial_id}).one_or_none()
        if row is None:
            raise KeyError(describe_missing())
        return build_trial(row)

    def read_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Return trials of a study: those with greater ids, and those listed, as far as they are in the states.

        Within `reading_at_most` not all of them.

        Raises:
            KeyError: no such study.
        """
        listed = [trial_id for trial_id in included_trial_ids if trial_id <= trial_id_greater_than]
        names = None if states is None else [state.name for state in TrialState if state in states]
        statement = select_trials(
            is_after=trial_id_greater_than > -1,
            is_listed=bool(listed),
            is_of_states=names is not None,
            has_user_attributes=self._reads_user_attributes,
        )
        most = _most.get()
        wanted = {
            "study_id": study_id,
            "after": trial_id_greater_than,
            "listed": listed,
            "states": names,
            "most": None if most is None else most + len(listed),
        }
        with self._connect() as connection:
            rows = connection.execute(statement, wanted).all()
        if not rows:
            raise KeyError(describe_missing())
        return [build_trial(row) for row in rows if row.trial_id is not None]

    def get_n_trials(self, study_id: int, state: tuple[TrialState, ...] | TrialState | None = None) -> int:
        """Return how many trials a study has, in these states if some are given.

        Raises:
            KeyError: no such study.
        """
        states = (state,) if isinstance(state, TrialState) else state
        names = None if states is None else [one.name for one in states]
        with self._connect() as connection:
            count: int | None = connection.scalar(COUNT_TRIALS, {"study_id": study_id, "states": names})
        if count is None:
            raise KeyError(describe_missing())
        return count

    def _write(
        self, connection: Connection, statement: TextClause, trial_id: int, content: Mapping[str, Any]
    ) -> str:
        """Write to a trial unless it is finished.

        Returns:
            The state that it had before.
        """
        state = connection.scalar(statement, {"trial_id": trial_id, **content})
        return self._check_updatable(trial_id, state)

    def _check_updatable(self, trial_id: int, state: str | None) -> str:
        if state is None:
            raise KeyError(describe_missing())
        self.check_trial_is_updatable(trial_id, TrialState[state])
        return state

    @contextmanager
    def _connect(self, *, ignores_conflicts: bool = False) -> Iterator[Connection]:
        """Return a connection on which each call is a transaction; it fails as Optuna's sessions fail.

        Args:
            ignores_conflicts: another worker's row in the way, or a trial deleted meanwhile, is no error.
        """
        try:
            with autocommit(self.engine) as connection:
                yield connection
        except IntegrityError:
            if not ignores_conflicts:
                raise
        except SQLAlchemyError as error:
            raise StorageInternalError("the study store refused a statement") from error


def _are_known(known: Mapping[str, BaseDistribution], parameters: writes.Suggested) -> bool:
    """Return whether these very distributions are the study's, so that there is nothing to compare."""
    return all(known.get(name) == distribution for name, (_, distribution) in parameters.items())
