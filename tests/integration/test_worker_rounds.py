"""One worker and several studies: a trial each in turn, new studies as they come, and nothing of paused ones."""

import os
import signal
from unittest.mock import patch

import torch

from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.store import open_store
from anomalyvfm_opt.store.studies import load_study
from anomalyvfm_opt.study.creation import create_studies
from anomalyvfm_opt.trial.pulse import StopRequest, Times
from anomalyvfm_opt.trial.trial_store import Turn
from anomalyvfm_opt.worker.serve import Worker, WorkerOptions
from tests.integration.databases import execute
from tests.integration.families import Families
from tests.integration.program import CATEGORY, Program, finish, make_tiny, wait_for

_ENDED = """
    SELECT s.study_name FROM trials t JOIN studies s ON s.study_id = t.study_id
     WHERE t.state = 'COMPLETE' ORDER BY t.datetime_complete
"""


def test_studies_are_served_in_turn_and_new_ones_are_picked_up(program: Program, database_url: str) -> None:
    store = open_store(database_url)

    def create(name: str) -> None:
        spec = Spec.model_validate(make_tiny(name, references=["frozen"], search={"trials": 2}))
        with patch.dict(os.environ, {"ANOMALYVFM_OPT_HOME": str(program.cluster.home)}):
            create_studies(store, spec, program.data, [CATEGORY])

    def is_done(name: str) -> bool:
        return count_usage(store.engine, load_study(store.engine, f"{name}/{CATEGORY}").study_id).complete == 2

    create("first")
    create("second")
    worker = program.start("worker", "run", "--keep-running", "--threads", "1", "--db", database_url)
    wait_for(lambda: worker.poll() is not None or (is_done("first") and is_done("second")))
    served = [row[0].split("/")[0] for row in execute(database_url, _ENDED)]
    assert served in (["first", "second"] * 2, ["second", "first"] * 2)
    create("third")
    wait_for(lambda: worker.poll() is not None or is_done("third"))
    worker.send_signal(signal.SIGTERM)
    done = finish(worker)
    assert done.returncode == 143, done.stderr
    assert "worker stopped: 6 completed" in done.stderr


def test_a_study_that_is_deleted_is_left_and_the_others_are_served(program: Program, database_url: str) -> None:
    store = open_store(database_url)
    for name, trials in (("doomed", 50), ("kept", 3)):
        spec = Spec.model_validate(make_tiny(name, references=["frozen"], search={"trials": trials}))
        with patch.dict(os.environ, {"ANOMALYVFM_OPT_HOME": str(program.cluster.home)}):
            create_studies(store, spec, program.data, [CATEGORY])
    names = ("--study", "doomed", "--study", f"kept/{CATEGORY}")
    worker = program.start("worker", "run", *names, "--threads", "1", "--db", database_url)
    doomed = load_study(store.engine, f"doomed/{CATEGORY}")
    wait_for(lambda: worker.poll() is not None or count_usage(store.engine, doomed.study_id).used > 1)
    deleted = program.run_here("study", "delete", doomed.name, "--yes", "--db", database_url)
    assert deleted.returncode == 0, deleted.stderr
    done = finish(worker)
    assert done.returncode == 0, done.stderr
    assert f"{doomed.name} was deleted; this worker is done with it" in done.stderr
    assert "bug" not in done.stderr
    kept = load_study(store.engine, f"kept/{CATEGORY}")
    assert count_usage(store.engine, kept.study_id).complete == 3


def test_a_study_may_be_deleted_in_the_middle_of_a_turn(store: Families) -> None:
    """Between the list of studies and the study: Optuna finds no row of it."""
    doomed, kept = store.found("gone"), store.found("stays")
    said: list[str] = []
    listed = [doomed.bench.record, kept.bench.record]
    options = WorkerOptions(None, None, None, None, False, torch.device("cpu"), Times(), "w")  # type: ignore[arg-type]
    worker = Worker(store, options, lambda: [kept.bench.record], StopRequest(), said.append)
    doomed.delete()
    assert worker._take_turn_if_there(listed[0]) is Turn.DONE
    assert said == [f"{doomed.name} was deleted; this worker is done with it"]
