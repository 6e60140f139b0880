"""What roles keep of a trial that is complete: a worker changes nothing of it, whatever it sends."""

from collections.abc import Iterator

import psycopg2
import pytest

from tests.integration.external_server import DATABASE, USER, ExternalServer
from tests.integration.roles import ROLES, applied, attempt


@pytest.fixture(scope="module")
def server(external_server: ExternalServer) -> Iterator[ExternalServer]:
    with applied(external_server) as server:
        yield server


COMPLETE = """
    INSERT INTO studies (study_id, study_name) VALUES (900, 'kept');
    INSERT INTO trials (trial_id, study_id, number, state)
    VALUES (901, 900, 0, 'COMPLETE'), (902, 900, 1, 'RUNNING');
    INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (901, 0, 0.5, 'FINITE');
    INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (901, 'k', '1'), (902, 'k', '1');
    INSERT INTO anomalyvfm_opt.image_score VALUES (901, 's', 'i', 0, 0.5), (902, 's', 'i', 0, 0.5);
    INSERT INTO anomalyvfm_opt.lease (study_id, trial_id, worker, expires_at) VALUES (900, 902, 'w', now());
"""
GONE = """
    DELETE FROM trial_values WHERE trial_id > 900;
    DELETE FROM trial_params WHERE trial_id > 900;
    DELETE FROM trial_intermediate_values WHERE trial_id > 900;
    DELETE FROM trial_system_attributes WHERE trial_id > 900;
    DELETE FROM trial_user_attributes WHERE trial_id > 900;
    DELETE FROM trials WHERE study_id = 900;
    DELETE FROM studies WHERE study_id = 900;
"""
DELETE = "DELETE FROM anomalyvfm_opt.image_score WHERE trial_id = {trial}"
# a table that would be found before the real one, where an administrator allows temporary ones again
RIVAL = "CREATE TEMP TABLE trials AS SELECT 901 AS trial_id, 'RUNNING'::trialstate AS state;"


@pytest.fixture
def complete(server: ExternalServer) -> Iterator[None]:
    """A trial 901 that is complete, and a trial 902 that runs."""
    server.admin(COMPLETE, DATABASE)
    yield
    server.admin(GONE, DATABASE)


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE trials SET state = 'FAIL' WHERE trial_id = {trial}",
        "UPDATE trial_values SET value = 1 WHERE trial_id = {trial}",
        "UPDATE trial_user_attributes SET value_json = '2' WHERE trial_id = {trial}",
        DELETE,
        "INSERT INTO anomalyvfm_opt.image_score VALUES ({trial}, 's', 'another', 0, 0.5)",
        "INSERT INTO anomalyvfm_opt.trial_metric VALUES ({trial}, 's', 1, 1, 1)",
        "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES ({trial}, 'new', '1')",
        "INSERT INTO trial_system_attributes (trial_id, key, value_json) VALUES ({trial}, 'new', '1')",
        "INSERT INTO trial_params (trial_id, param_name, param_value) VALUES ({trial}, 'p', 1)",
        "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)"
        " VALUES ({trial}, 1, 1, 'FINITE')",
    ],
)
def test_a_worker_changes_nothing_of_a_trial_that_is_complete(server: ExternalServer, sql: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="is complete, and user hands may not"):
        attempt(server, ROLES.worker, sql.format(trial=901))
    attempt(server, ROLES.worker, sql.format(trial=902))
    attempt(server, USER, sql.format(trial=901))


@pytest.mark.usefixtures("complete")
def test_a_temporary_table_hides_no_trial(server: ExternalServer) -> None:
    with pytest.raises(
        psycopg2.errors.InsufficientPrivilege, match="permission denied to create temporary tables"
    ):
        attempt(server, ROLES.worker, RIVAL)
    server.admin(f"GRANT TEMPORARY ON DATABASE {DATABASE} TO {ROLES.worker}")
    try:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="is complete, and user hands may not"):
            attempt(server, ROLES.worker, f"{RIVAL} {DELETE.format(trial=901)}")
    finally:
        server.admin(f"REVOKE TEMPORARY ON DATABASE {DATABASE} FROM {ROLES.worker}")


@pytest.mark.usefixtures("complete")
def test_a_trial_that_runs_has_one_value_and_no_old_snapshot(server: ExternalServer) -> None:
    value = "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (902, {}, 0.5, 'FINITE')"
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="trials have one value"):
        attempt(server, ROLES.worker, value.format(1))
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="READ COMMITTED alone"):
        attempt(server, ROLES.worker, f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; {value.format(0)}")
    # a trial and its value in one transaction, in whatever order
    completed = "UPDATE trials SET state = 'COMPLETE' WHERE trial_id = 902"
    attempt(server, ROLES.worker, f"{completed}; {value.format(0)}")
