"""Writes whose answer is lost: the connection breaks before the commit, or right after it."""

from typing import Any

import psycopg2
import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.direct import DirectStorage
from anomalyvfm_opt.store.scores import read_scores
from anomalyvfm_opt.trial.outcome import InterruptedTrialError
from anomalyvfm_opt.trial.patience import Patience
from anomalyvfm_opt.trial.pulse import StopRequest
from tests.integration.conftest import Bench
from tests.integration.trial_states import count_leases, read_outcomes, run_to_end, states


def break_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool) -> list[int]:
    """The second call fails like a broken connection: before it has done anything, or when it has done it."""
    calls: list[int] = []
    whole = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 2 and not after:
            raise outage()
        result = whole(*arguments, **options)
        if len(calls) == 2 and after:
            raise outage()
        return result

    monkeypatch.setattr(owner, name, call)
    return calls


def outage() -> OperationalError:
    return OperationalError("SELECT", {}, psycopg2.OperationalError("server closed the connection unexpectedly"))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (DirectStorage, "set_suggested"),
        (DirectStorage, "set_trial_user_attrs"),
        (DirectStorage, "set_trial_intermediate_value"),
        (DirectStorage, "set_trial_state_values"),
        (DirectStorage, "_create_new_trial"),
    ],
    ids=["parameters", "attributes", "report", "state", "trial"],
)
def test_a_write_that_is_done_again_is_as_good_as_done_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: bool
) -> None:
    calls = break_once(monkeypatch, owner, name, after=after)
    run_to_end(bench.loop())
    assert len(calls) > 2
    complete = [trial for trial in bench.study().get_trials() if trial.state is TrialState.COMPLETE]
    assert len(complete) == 6
    assert all(len(trial.params) == 12 for trial in complete[1:])
    assert all(trial.intermediate_values.keys() == {1, 2} for trial in complete[1:])
    assert all(len(read_scores(bench.engine, trial._trial_id, "patch_knn")) == 2 for trial in complete)
    for trial in complete[1:]:
        suggested = {name: trial.params[name] for name in ("rank", "learning_rate")}
        assert suggested.items() <= trial.user_attrs["parameters"].items()
    assert count_leases(bench) == 0


def test_a_completed_trial_whose_answer_was_lost_is_not_fenced(bench: Bench, monkeypatch: Any) -> None:
    whole = DirectStorage.set_trial_state_values
    broken: list[int] = []

    def complete_and_break(storage: Any, trial_id: int, state: TrialState, values: Any = None) -> bool:
        done = whole(storage, trial_id, state, values)
        if state is TrialState.COMPLETE and not broken:
            broken.append(trial_id)
            raise outage()
        return done

    monkeypatch.setattr(DirectStorage, "set_trial_state_values", complete_and_break)
    bench.loop().take_turn()
    assert states(bench) == ["COMPLETE"]
    assert read_outcomes(bench) == [("completed", True)]
    assert len(read_scores(bench.engine, broken[0], "patch_knn")) == 2


def test_what_is_no_outage_is_not_waited_for() -> None:
    def fail() -> None:
        raise OperationalError("SELECT", {}, psycopg2.OperationalError('database "vision" does not exist'))

    with pytest.raises(OperationalError):
        Patience(60.0, lambda: None).run(fail)


def test_patience_has_an_end_and_hears_signals() -> None:
    def fail() -> None:
        raise outage()

    with pytest.raises(EnvironmentMissingError, match="the server closed the connection"):
        Patience(0.5, lambda: None).run(fail)
    stop = StopRequest()
    stop.give_back(143)
    with pytest.raises(InterruptedTrialError):
        Patience(60.0, stop.check).run(fail)
