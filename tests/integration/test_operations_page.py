"""docs/operations.md: what it tells to ask the database can be asked by a viewer."""

import pytest
from sqlalchemy import text

from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.roles import Roles, apply_roles, find_owner
from tests.docs.pages import ROOT, list_blocks
from tests.integration.conftest import Bench
from tests.integration.trial_states import die_after_asking, expire_leases

QUERIES = [b.text for b in list_blocks(ROOT / "docs" / "operations.md") if b.language == "sql"]


def test_every_query_answers_a_viewer_and_a_lost_trial_shows(bench: Bench) -> None:
    die_after_asking(bench)
    expire_leases(bench)
    with bench.engine.begin() as connection:
        connection.execute(text("UPDATE anomalyvfm_opt.lease SET expires_at = now() - interval '1 hour'"))
        owner = find_owner(connection)
    apply_roles(bench.engine, Roles(owner, "page_hands", "page_eyes"))
    try:
        with bench.engine.begin() as connection:
            connection.execute(text("SET LOCAL ROLE page_eyes"))
            answers = {query: connection.execute(text(query)).all() for query in QUERIES}
            (lost,) = (rows for query, rows in answers.items() if "l.expires_at" in query)
            assert [row.worker for row in lost] == ["dead"]
            with pytest.raises(Exception, match="permission denied"):
                connection.execute(text("DELETE FROM anomalyvfm_opt.lease"))
    finally:
        engine = make_engine(bench.engine.url.render_as_string(hide_password=False))
        with engine.begin() as connection:
            connection.execute(text("DROP OWNED BY page_hands, page_eyes"))
            connection.execute(text("DROP ROLE page_hands, page_eyes"))
        engine.dispose()
    assert len(QUERIES) == 6
