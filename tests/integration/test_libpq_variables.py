"""libpq's variables are for servers that a person names; the embedded one has settings of its own."""

import os

import pytest
from sqlalchemy import make_url

from anomalyvfm_opt.store.libpq_variables import forget_variables, list_heeded
from tests.integration.program import Program

_NONSENSE = {
    "PGCHANNELBINDING": "require",
    "PGCLIENTENCODING": "SJIS",
    "PGDATABASE": "nowhere",
    "PGDATESTYLE": "nonsense",
    "PGGSSENCMODE": "require",
    "PGHOST": "203.0.113.1",
    "PGHOSTADDR": "203.0.113.1",
    "PGOPTIONS": "-cnonsense=1",
    "PGPASSFILE": "/nowhere",
    "PGPASSWORD": "wrong",
    "PGPORT": "1",
    "PGREQUIREAUTH": "none",
    "PGREQUIREPEER": "nobody",
    "PGSERVICE": "nonsense",
    "PGSERVICEFILE": "/nowhere",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nowhere",
    "PGTARGETSESSIONATTRS": "standby",
    "PGTZ": "Nowhere/Nowhere",
    "PGUSER": "nobody",
}


def test_the_embedded_database_heeds_none_of_them(program: Program) -> None:
    for command in (("study", "list"), ("doctor",)):
        said = program.run_here(*command, **_NONSENSE)
        assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize(
    "name", ["PGSSLMODE", "PGPASSWORD", "PGHOSTADDR", "PGSERVICE", "PGDATESTYLE", "PGOPTIONS"]
)
def test_of_another_database_the_message_names_the_variable(
    program: Program, database_url: str, name: str
) -> None:
    value = {"PGHOSTADDR": "127.0.0.2"}.get(name, _NONSENSE[name])
    said = program.run_here("study", "list", "--db", database_url, **{name: value})
    assert said.returncode == 3, said.stderr
    assert f"the environment has {name}" in " ".join(said.stderr.split())
    assert "wrong" not in said.stderr.replace("wrong password for", "")


def test_a_setting_of_the_url_stands_before_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGSSLMODE"):
        monkeypatch.setenv(name, "x")
    assert list_heeded(make_url("postgresql+psycopg2://u@h/d?sslmode=require")) == []
    assert list_heeded(make_url("postgresql+psycopg2://u@h/d")) == ["PGSSLMODE"]
    assert list_heeded(None) == ["PGHOST", "PGSSLMODE"]


def test_what_is_forgotten_is_libpqs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "x")
    monkeypatch.setenv("PGPLOT_DIR", "x")
    forget_variables()
    assert "PGSERVICE" not in os.environ
    assert os.environ["PGPLOT_DIR"] == "x"
