"""Optuna's versions are read without Optuna, and are those that Alembic reads with it."""

from pathlib import Path

import optuna.storages._rdb as rdb
import pytest
from alembic.script import ScriptDirectory

from anomalyvfm_opt.store.versions import list_optuna_versions, read_links


def test_they_are_alembics() -> None:
    script = ScriptDirectory(str(Path(rdb.__path__[0]) / "alembic"))
    head, known = list_optuna_versions()
    assert head == script.get_current_head()
    assert known == {revision.revision for revision in script.walk_revisions()}


def test_a_migration_names_itself_and_the_one_before() -> None:
    assert read_links('import x\n\nrevision = "b"\ndown_revision = "a"\n') == ("b", "a")
    assert read_links("revision = 'a'\ndown_revision = None\n") == ("a", "")


@pytest.mark.parametrize(
    "source", ["", 'revision = "b"\n', 'down_revision = "a"\n', "revision = None\ndown_revision = None"]
)
def test_one_that_does_not_is_refused(source: str) -> None:
    with pytest.raises(LookupError, match="does not name"):
        read_links(source)
