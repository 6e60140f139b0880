"""Any order of ticket, ask, tell, give back, death, sleep and reaping keeps the books right (Hypothesis)."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from optuna.trial import TrialState
from sqlalchemy import Engine, text

from anomalyvfm_opt.errors import AnomalyVFMOptError, DoesNotFitError
from anomalyvfm_opt.evaluation.metrics import evaluate
from anomalyvfm_opt.store import endings
from anomalyvfm_opt.store.budget import count_usage, take_ticket
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.leases import Lease
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import create_study, load_study
from anomalyvfm_opt.store.study_state import set_state
from anomalyvfm_opt.trial.loop import TrialLoop, Turn
from anomalyvfm_opt.trial.outcome import InterruptedTrialError, Outcome
from anomalyvfm_opt.trial.pulse import Times
from anomalyvfm_opt.trial.reap import reap
from anomalyvfm_opt.trial.result import TrialResult
from anomalyvfm_opt.trial.settle import Ended
from tests.integration.conftest import KEYS, Bench, make_new_study, make_spec
from tests.integration.trial_states import run_to_end

BUDGET = 4
WORKERS = 3
_number = itertools.count()
_ENDS: dict[str, Exception] = {
    "give back": InterruptedTrialError(143),
    "does not fit": DoesNotFitError("too large"),
    "bug": ValueError("a bug"),
}


class Died(BaseException):
    """The process is no more."""


@dataclass
class Held:
    """What a worker has in its hands: it may be asleep, so that its lease has run out."""

    trial: optuna.Trial
    lease: Lease


@dataclass
class Member:
    """One worker: its loop, and its trial if it has one."""

    loop: TrialLoop
    ended: list[Ended] = field(default_factory=list)
    held: Held | None = None

    def drop(self) -> Held:
        """What it held, which it no longer does."""
        assert self.held is not None
        held, self.held = self.held, None
        return held


def make_result() -> TrialResult:
    scores, labels = np.array([0.0, 0.7]), np.array([0, 1])
    return TrialResult(
        value=0.7,
        metrics={"patch_knn": evaluate(scores, labels)},
        image_keys=KEYS,
        labels=labels,
        scores={"patch_knn": scores},
    )


class Books(RuleBasedStateMachine):
    """Three workers on one study; `url` is set by the test."""

    url: ClassVar[str]
    engine: ClassVar[Engine]

    def __init__(self) -> None:
        super().__init__()
        spec = make_spec(trials=BUDGET).model_copy(update={"name": f"books{next(_number)}"})
        store = Store(self.url, self.engine)
        create_study(store, make_new_study(spec), {"frozen": None})
        self.bench = Bench(store, load_study(self.engine, f"{spec.name}/tile"))
        self.workers = [self._hire(f"w{i}") for i in range(WORKERS)]

    def _pick(self, i: int, *, is_busy: bool = True) -> Member:
        """One of the workers that hold a trial, or of those that do not."""
        fitting = [worker for worker in self.workers if (worker.held is not None) is is_busy]
        return fitting[i % len(fitting)]

    def _hire(self, name: str) -> Member:
        ended: list[Ended] = []
        return Member(self.bench.loop(worker=name, ended=ended), ended)

    @precondition(lambda self: any(worker.held is None for worker in self.workers))
    @rule(i=st.integers(0, WORKERS - 1))
    def take_ticket_and_ask(self, i: int) -> None:
        worker = self._pick(i, is_busy=False)
        found = worker.loop._store.find_trial(worker.loop._get_ready)
        if isinstance(found, Turn):
            assert found in (Turn.WAIT, Turn.DONE, Turn.PAUSED)
            return
        worker.held = Held(*found)

    @precondition(lambda self: any(worker.held for worker in self.workers))
    @rule(i=st.integers(0, WORKERS - 1))
    def suggest(self, i: int) -> None:
        worker = self._pick(i)
        if worker.held is not None and self._is_ours(worker.held):
            worker.loop._store.describe(worker.held.trial)

    @precondition(lambda self: any(worker.held for worker in self.workers))
    @rule(i=st.integers(0, WORKERS - 1))
    def tell(self, i: int) -> None:
        worker = self._pick(i)
        held = worker.drop()
        was_ours = self._is_ours(held)
        try:
            worker.loop._settler.tell(held.trial, make_result())
        except optuna.exceptions.UpdateFinishedTrialError as error:
            worker.loop._settler.settle(held.trial, held.lease, error, Times())
        assert worker.ended[-1].outcome is (Outcome.COMPLETED if was_ours else Outcome.FENCED)

    @precondition(lambda self: any(worker.held for worker in self.workers))
    @rule(i=st.integers(0, WORKERS - 1), how=st.sampled_from(sorted(_ENDS)))
    def end_badly(self, i: int, how: str) -> None:
        worker = self._pick(i)
        held = worker.drop()
        was_ours = self._is_ours(held)
        with suppress(InterruptedTrialError, AnomalyVFMOptError):  # asked to stop, or the third bug in a row
            worker.loop._settler.settle(held.trial, held.lease, _ENDS[how], Times())
        if not was_ours:
            assert worker.ended[-1].outcome is Outcome.FENCED

    @precondition(lambda self: any(worker.held for worker in self.workers))
    @rule(i=st.integers(0, WORKERS - 1), sleeps=st.booleans())
    def lose_the_lease(self, i: int, sleeps: bool) -> None:
        """The worker dies, or sleeps past its grace and may come back."""
        worker = self._pick(i)
        if worker.held is not None:
            self._expire(worker.held.lease)
        if not sleeps:
            worker.drop()

    @rule(i=st.integers(0, WORKERS - 1), step=st.sampled_from(["ticket", "ask"]))
    def die_early(self, i: int, step: str) -> None:
        """Between ticket and ask, or between ask and the lease that knows the trial."""
        lease = take_ticket(self.engine, self.bench.record.study_id, f"dead{i}", 30.0)
        if lease is None:
            return
        if step == "ask":
            self.bench.study().ask()
        self._expire(lease)

    @precondition(lambda self: any(worker.held for worker in self.workers))
    @rule(i=st.integers(0, WORKERS - 1), before=st.sampled_from(["insert_waiting", "_insert_outcome"]))
    def die_while_giving_back(self, i: int, before: str) -> None:
        """Nothing of it is to be seen: all of it is one transaction."""
        worker = self._pick(i)
        held = worker.drop()
        with patch.object(endings, before, side_effect=Died), suppress(Died, InterruptedTrialError):
            worker.loop._settler.settle(held.trial, held.lease, InterruptedTrialError(143), Times())
        self._expire(held.lease)

    @rule()
    def reap(self) -> None:
        reap(self.bench.study(), self.engine, "reaper")

    @rule(state=st.sampled_from(["active", "active", "active", "paused", "stopped"]))
    def set_state(self, state: Any) -> None:
        set_state(self.engine, self.bench.record.study_id, state)

    @invariant()
    def the_budget_is_never_exceeded(self) -> None:
        usage = count_usage(self.engine, self.bench.record.study_id)
        assert usage.used <= BUDGET

    @invariant()
    def no_trial_counts_twice(self) -> None:
        assert max(self._count_ends().values(), default=0) <= 1

    @invariant()
    def every_complete_trial_has_scores(self) -> None:
        query = """
            SELECT count(*) FROM trials t WHERE t.study_id = :id AND t.state = 'COMPLETE'
               AND NOT EXISTS (SELECT FROM anomalyvfm_opt.image_score s WHERE s.trial_id = t.trial_id)"""
        with self.engine.connect() as connection:
            assert connection.scalar(text(query), {"id": self.bench.record.study_id}) == 0

    def teardown(self) -> None:
        """All workers die; another one ends the study, and the books are exact."""
        with self.engine.begin() as connection:
            expire = "UPDATE anomalyvfm_opt.lease SET expires_at = now() - interval '1 s' WHERE study_id = :id"
            connection.execute(text(expire), {"id": self.bench.record.study_id})
        set_state(self.engine, self.bench.record.study_id, "active")
        run_to_end(self.bench.loop(worker="last"))
        usage = count_usage(self.engine, self.bench.record.study_id)
        assert usage.complete + usage.pruned + usage.failed == BUDGET
        assert (usage.running, usage.held) == (0, 0)
        assert max(self._count_ends().values()) == 1

    def _expire(self, lease: Lease) -> None:
        expire = "UPDATE anomalyvfm_opt.lease SET expires_at = now() - interval '1 s' WHERE lease_id = :id"
        with self.engine.begin() as connection:
            connection.execute(text(expire), {"id": lease.lease_id})

    def _is_ours(self, held: Held) -> bool:
        state = self.bench.storage.get_trial(held.trial._trial_id).state
        return state is TrialState.RUNNING and held.lease.is_held(self.engine)

    def _count_ends(self) -> Counter[int]:
        """Of each trial and its retries: how many count."""
        query = """
            SELECT t.number, coalesce(f.value_json::int, t.number) AS first
              FROM trials t LEFT JOIN anomalyvfm_opt.trial_outcome o ON o.trial_id = t.trial_id
              LEFT JOIN trial_user_attributes f ON f.trial_id = t.trial_id AND f.key = 'first_number'
             WHERE t.study_id = :id AND (t.state IN ('COMPLETE', 'PRUNED') OR (t.state = 'FAIL' AND o.is_final))"""
        with self.engine.connect() as connection:
            return Counter(
                row.first for row in connection.execute(text(query), {"id": self.bench.record.study_id})
            )


@pytest.fixture
def _database(store_url: str) -> Iterator[None]:
    Books.url, Books.engine = store_url, make_engine(store_url)
    random.seed(0)
    yield
    Books.engine.dispose()


@pytest.mark.usefixtures("_database")
def test_the_books_are_right_in_any_order() -> None:
    run_state_machine_as_test(
        Books,
        settings=settings(
            max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
