"""What a worker's role cannot write: values without a ticket and a lease, and into a trial that completes."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest

from tests.integration.external_server import DATABASE, USER, ExternalServer
from tests.integration.roles import ROLES, applied, attempt

# of study 900: trial 901 is complete, 902 runs, 903 waits, 904 runs without a lease, and 905 likewise, as planned
MADE = """
    INSERT INTO studies (study_id, study_name) VALUES (900, 'kept/tile'), (910, 'kept/tile#confirm');
    INSERT INTO anomalyvfm_opt.study (study_id, category, spec, spec_sha256, data_dir, lock, split_sha256,
                                      weights_sha256, budget)
    VALUES (900, 'tile', '{}', '', '', 'half', '', '', 4), (910, 'tile', '{}', '', '', 'half', '', '', 4);
    INSERT INTO trials (trial_id, study_id, number, state)
    VALUES (901, 900, 0, 'COMPLETE'), (902, 900, 1, 'RUNNING'), (903, 900, 2, 'WAITING'),
           (904, 900, 3, 'RUNNING'), (905, 900, 4, 'RUNNING');
    INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (905, 'planned', '{"arm": "baseline"}');
    INSERT INTO anomalyvfm_opt.lease (study_id, trial_id, worker, expires_at)
    VALUES (900, 902, 'w', now() + interval '1 minute');
    INSERT INTO anomalyvfm_opt.confirmation (study_id, round, plan, device, made_by)
    VALUES (910, 1, '{}', '', 'me'), (910, 2, '{}', 'cpu', 'me');
"""
GONE = """
    DELETE FROM anomalyvfm_opt.trial_outcome; DELETE FROM anomalyvfm_opt.lease; DELETE FROM trial_values;
    DELETE FROM anomalyvfm_opt.image_score; DELETE FROM trial_user_attributes; DELETE FROM trials;
    DELETE FROM anomalyvfm_opt.confirmation; DELETE FROM anomalyvfm_opt.study; DELETE FROM studies;
    DELETE FROM anomalyvfm_opt.look; DELETE FROM anomalyvfm_opt.worker;
"""
LEASE = (
    "INSERT INTO anomalyvfm_opt.lease (study_id, worker, expires_at) VALUES ({study}, 'w', now() + interval '9 s')"
)
ATTACH = "UPDATE anomalyvfm_opt.lease SET trial_id = {trial} WHERE trial_id IS NULL"
FINISHED = """
    UPDATE trials SET state = 'COMPLETE' WHERE trial_id = 904;
    INSERT INTO anomalyvfm_opt.trial_outcome (trial_id, outcome, is_final, worker)
    VALUES (904, 'completed', true, 'w');
    UPDATE anomalyvfm_opt.confirmation SET device = 'cpu' WHERE round = 1
"""
WORKER = (
    "INSERT INTO anomalyvfm_opt.worker (name, host, pid, device, version, grace_s, heartbeat_at, started_at)"
    " VALUES ('w', 'h', 1, 'cpu', '1', 9, now(), {})"
)
LOOK = (
    "INSERT INTO anomalyvfm_opt.look"
    " (study_name, round, arm, seed, trial_number, lock_sha256, worker, looked_at)"
    " VALUES ('kept/tile#confirm', {round}, 'finalist', 1, 0, 'locked', 'w', '4000-01-01 BC')"
)
PLAN = "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES ({trial}, 'planned', '{plan}')"
BUG = (
    "INSERT INTO anomalyvfm_opt.trial_outcome (trial_id, outcome, is_final, worker)"
    " VALUES ({trial}, 'bug', true, 'w')"
)


@pytest.fixture(scope="module")
def server(external_server: ExternalServer) -> Iterator[ExternalServer]:
    with applied(external_server) as server:
        yield server


@pytest.fixture(autouse=True)
def store(server: ExternalServer) -> Iterator[None]:
    """A study with a trial that is complete, one that runs, one that waits, and one that runs without a lease."""
    server.admin(MADE, DATABASE)
    yield
    server.admin(GONE, DATABASE)


@contextmanager
def session(server: ExternalServer) -> Iterator["psycopg2.extensions.connection"]:
    """A transaction of a worker's that is left open."""
    connection = psycopg2.connect(server.url_of(ROLES.worker, DATABASE), passfile=str(server.passfile))
    try:
        yield connection
    finally:
        connection.close()


WRITES = [
    "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (902, 0, 9, 'FINITE')",
    "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (902, 'k', '1')",
    "INSERT INTO anomalyvfm_opt.image_score VALUES (902, 's', 'i', 0, 0.5)",
]


@pytest.mark.parametrize("write", WRITES)
def test_a_transaction_that_is_open_holds_up_who_completes_the_trial(server: ExternalServer, write: str) -> None:
    """Else its writes would be committed to a trial that has been complete meanwhile."""
    completed = threading.Thread(
        target=attempt,
        args=(server, ROLES.worker, "UPDATE trials SET state = 'COMPLETE' WHERE trial_id = 902"),
    )
    with session(server) as open_one:
        open_one.cursor().execute(write)
        completed.start()
        time.sleep(0.5)
        assert server.admin("SELECT state FROM trials WHERE trial_id = 902", DATABASE) == [("RUNNING",)]
        open_one.commit()
    completed.join(10)
    assert server.admin("SELECT state FROM trials WHERE trial_id = 902", DATABASE) == [("COMPLETE",)]


@pytest.mark.parametrize("write", WRITES)
def test_who_writes_while_a_trial_is_completed_waits_and_is_refused(server: ExternalServer, write: str) -> None:
    refused: list[str] = []

    def try_to_write() -> None:
        try:
            attempt(server, ROLES.worker, write)
        except psycopg2.errors.InsufficientPrivilege as error:
            refused.append(str(error))

    writing = threading.Thread(target=try_to_write)
    with session(server) as completing:
        completing.cursor().execute("UPDATE trials SET state = 'COMPLETE' WHERE trial_id = 902")
        writing.start()
        time.sleep(0.5)
        assert writing.is_alive()
        completing.commit()
    writing.join(10)
    assert "is complete, and user hands may not change it" in refused[0]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("INSERT INTO trials (study_id, number, state) VALUES (900, 5, 'COMPLETE')", "ends when it is told"),
        ("INSERT INTO trials (study_id, number, state) VALUES (900, 5, 'PRUNED')", "ends when it is told"),
        ("INSERT INTO trials (study_id, number, state) VALUES (900, 0, 'WAITING')", "has the next number"),
        ("INSERT INTO trials (study_id, state) VALUES (900, 'WAITING')", "has the next number"),
        (
            "SELECT nextval('trials_trial_id_seq');"
            " INSERT INTO trials (trial_id, study_id, number, state) VALUES (5000, 900, 5, 'RUNNING')",
            "has the next number",
        ),
        ("UPDATE anomalyvfm_opt.lease SET expires_at = 'infinity'", "may not keep it for ever"),
        ("UPDATE trials SET state = 'COMPLETE' WHERE trial_id = 904", "has no lease"),
        ("UPDATE trials SET state = 'PRUNED' WHERE trial_id = 904", "has no lease"),
        ("UPDATE trials SET state = 'COMPLETE' WHERE trial_id = 903", "has no lease"),
        (
            "UPDATE trials SET state = 'FAIL' WHERE trial_id = 904;"
            " UPDATE trials SET state = 'RUNNING' WHERE trial_id = 904",
            "has ended",
        ),
        (
            "INSERT INTO anomalyvfm_opt.lease (study_id, trial_id, worker, expires_at)"
            " VALUES (900, 904, 'w', now())",
            "begins without a trial",
        ),
        (LEASE.format(study=910), "no ticket left"),  # nothing waits in the sibling
        (";".join([LEASE.format(study=900)] * 3), "no ticket left"),  # of four, two are taken
        (
            ";".join((LEASE.format(study=900), ATTACH.format(trial=903))),
            "is of one trial of its study that runs",
        ),
        (
            "UPDATE anomalyvfm_opt.lease SET trial_id = 904 WHERE trial_id = 902",
            "is of one trial of its study that runs",
        ),
        ("UPDATE anomalyvfm_opt.lease SET study_id = 910", "permission denied"),
        ("UPDATE trials SET state = 'FAIL' WHERE trial_id = 903", "before it began"),
        ("UPDATE trials SET datetime_start = '4000-01-01 BC' WHERE trial_id = 902", "between 1970 and 2200"),
        ("UPDATE trials SET datetime_complete = 'infinity' WHERE trial_id = 903", "between 1970 and 2200"),
        (
            "INSERT INTO trials (study_id, number, state, datetime_start) VALUES (900, 5, 'RUNNING', 'infinity')",
            "between 1970 and 2200",
        ),
        (WORKER.format("'4000-01-01 BC'"), "between 1970 and 2200"),
        (
            ";".join((WORKER.format("now()"), "UPDATE anomalyvfm_opt.worker SET ended_at = '-infinity'")),
            "between 1970 and 2200",
        ),
        (LOOK.format(round=3), "has no round 3"),
        (PLAN.format(trial=903, plan="{}"), "are planned by `confirm`"),
        (
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (905, 'planned', 'not JSON')"
            " ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json",
            "may not plan or change one",
        ),
        (
            "UPDATE trial_user_attributes SET value_json = 'not JSON' WHERE trial_id = 905",
            "may not plan or change",
        ),
        (LOOK.format(round=2**31 - 1), "may not look in it"),
        ("UPDATE anomalyvfm_opt.study SET state = 'stopped', state_reason = 'so'", "fail one after the other"),
        ("UPDATE anomalyvfm_opt.study SET state = 'paused', state_reason = 'by study pause'", "may not pause"),
        ("UPDATE anomalyvfm_opt.confirmation SET device = 'cuda' WHERE round = 2", "is carried out on cpu"),
        (BUG.format(trial=901), "an outcome that is not its state"),
        (BUG.format(trial=902), "an outcome that is not its state"),
        (
            ";".join(("UPDATE trials SET state = 'FAIL' WHERE trial_id = 904", BUG.format(trial=904))),
            "has no lease",
        ),
    ],
)
def test_what_did_not_come_by_a_ticket_and_a_lease_is_refused(
    server: ExternalServer, sql: str, words: str
) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match=words):
        attempt(server, ROLES.worker, sql)


def test_an_outcome_has_the_time_of_its_end(server: ExternalServer) -> None:
    """Bugs of the far future would be the last ones for ever, and so a reason to stop the study at any time."""
    attempt(
        server,
        ROLES.worker,
        "INSERT INTO anomalyvfm_opt.trial_outcome (trial_id, outcome, is_final, worker, ended_at)"
        " VALUES (901, 'completed', true, 'w', 'infinity')",
    )
    assert server.admin("SELECT ended_at <= now() FROM anomalyvfm_opt.trial_outcome", DATABASE) == [(True,)]


def test_the_copy_of_a_trial_that_was_lost_has_its_plan(server: ExternalServer) -> None:
    again = "INSERT INTO trials (study_id, number, state) VALUES (900, 5, 'WAITING')"
    copied = PLAN.format(trial="currval('trials_trial_id_seq')", plan='{"arm": "baseline"}')
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="may not plan"):  # it may end well
        attempt(server, ROLES.worker, ";".join((again, copied)))
    attempt(
        server,
        ROLES.worker,
        ";".join(("UPDATE trials SET state = 'FAIL' WHERE trial_id = 905", again, copied)),
    )


def test_a_look_has_the_time_at_which_it_was_written_down(server: ExternalServer) -> None:
    attempt(server, ROLES.worker, LOOK.format(round=2))
    written = "SELECT now() - looked_at < interval '1 minute' FROM anomalyvfm_opt.look"
    assert server.admin(written, DATABASE) == [(True,)]


def test_what_comes_by_a_ticket_and_a_lease_passes(server: ExternalServer) -> None:
    attempt(
        server,
        ROLES.worker,
        ";".join((LEASE.format(study=900), ATTACH.format(trial=904), FINISHED)),
    )


def test_a_worker_stops_a_study_after_three_bugs_in_a_row_and_starts_none(server: ExternalServer) -> None:
    stop = "UPDATE anomalyvfm_opt.study SET state = 'stopped', state_reason = '{}' WHERE study_id = 900"
    bugs = (
        "UPDATE trials SET state = 'FAIL' WHERE trial_id IN (902, 904, 903);"
        " INSERT INTO anomalyvfm_opt.trial_outcome (trial_id, outcome, is_final, worker)"
        " SELECT trial_id, 'bug', true, 'w' FROM trials WHERE state = 'FAIL'"
    )
    attempt(server, USER, bugs)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="may not pause"):
        attempt(server, ROLES.worker, stop.format("by study stop"))
    attempt(server, ROLES.worker, stop.format("3 trials failed one after the other"))
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="may not pause"):
        attempt(server, ROLES.worker, "UPDATE anomalyvfm_opt.study SET state = 'active', state_reason = ''")
