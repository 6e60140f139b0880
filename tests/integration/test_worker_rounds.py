"""One worker and several studies: a trial each in turn, new studies as they come, and nothing of paused ones."""

import os
import signal
from unittest.mock import patch

from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.store import open_store
from anomalyvfm_opt.store.studies import load_study
from anomalyvfm_opt.study.creation import create_studies
from tests.integration.databases import execute
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
