"""A large study comes to the dashboard page by page: nothing is lost, nothing twice, nothing read too early."""

import json
from typing import Any

import optuna
import optuna_dashboard
import pytest

from anomalyvfm_opt.report.pages import PagedStorage, make_paged
from anomalyvfm_opt.store.direct import DirectStorage
from tests.integration.conftest import Bench
from tests.integration.dashboards import ask_dashboard

SIZE = 4


def ask(application: Any, study_id: int, after: object) -> tuple[int, dict[str, Any]]:
    status, body = ask_dashboard(application, f"/api/studies/{study_id}", f"after={after}")
    return status, json.loads(body)


def serve(storage: DirectStorage) -> Any:
    return make_paged(PagedStorage(storage, SIZE))


def numbers(answer: dict[str, Any]) -> list[int]:
    return [trial["number"] for trial in answer["trials"]]


@pytest.fixture
def study(bench: Bench) -> optuna.Study:
    """Ten finished trials, the best of them last."""
    study = optuna.create_study(storage=bench.storage, study_name="plain", direction="maximize")
    for value in range(10):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, value)
    return study


def test_pages_put_together_are_the_study(bench: Bench, study: optuna.Study) -> None:
    shown: list[int] = []
    said = []
    application = serve(bench.storage)
    for _ in range(4):
        status, answer = ask(application, study._study_id, len(shown))
        assert status == 200
        assert [trial["number"] for trial in answer["best_trials"]] == [9]
        shown += numbers(answer)
        said.append([attribute["value"] for attribute in answer["user_attrs"]])
    assert shown == list(range(10))
    assert said[:2] == [[f"{n} of 10 trials; the others follow by themselves"] for n in (4, 8)]
    assert said[2:] == [[], []]


def test_an_answer_reads_no_further_than_its_page(bench: Bench, study: optuna.Study) -> None:
    storage = PagedStorage(bench.storage, SIZE)
    ask(make_paged(storage), study._study_id, 0)
    assert len(storage._cached._studies[study._study_id].trials) == SIZE


def test_whoever_does_not_ask_for_a_page_gets_all(bench: Bench, study: optuna.Study) -> None:
    storage = PagedStorage(bench.storage, SIZE)
    ask(make_paged(storage), study._study_id, 0)
    assert len(storage.get_all_trials(study._study_id)) == 10


def test_what_needs_all_trials_changes_no_page(bench: Bench, study: optuna.Study) -> None:
    """The browser asks for the importance of parameters and for the first page at once."""
    application = serve(bench.storage)
    for after, expected in ((0, [0, 1, 2, 3]), (8, [8, 9])):
        path = f"/api/studies/{study._study_id}/param_importances"
        status, body = ask_dashboard(application, path, "")
        assert status == 200
        assert json.loads(body)["param_importances"][0][0]["name"] == "x"
        assert numbers(ask(application, study._study_id, after)[1]) == expected


def test_a_trial_that_still_runs_holds_up_no_page(bench: Bench, study: optuna.Study) -> None:
    """The browser asks from the first unfinished trial on, so what follows it must come with it."""
    running = study.ask()
    for value in range(6):
        study.tell(study.ask(), value)
    _, answer = ask(serve(bench.storage), study._study_id, running.number)
    assert numbers(answer)[0] == running.number
    assert len(answer["trials"]) >= SIZE


@pytest.mark.parametrize("after", ["x", "-1"])
def test_what_is_no_number_is_refused_as_before(bench: Bench, study: optuna.Study, after: str) -> None:
    plain = optuna_dashboard.wsgi(bench.storage)
    answers: list[object] = []
    for application in (plain, serve(bench.storage)):
        try:
            answers.append(ask(application, study._study_id, after)[0])
        except Exception as error:  # what the WSGI server makes an answer of
            answers.append(repr(error))
    assert answers[0] == answers[1]


def test_a_study_that_is_not_there_is_not_found(bench: Bench) -> None:
    assert ask(serve(bench.storage), 10**6, 0)[0] == 404
