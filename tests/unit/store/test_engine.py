import pytest
from sqlalchemy import make_url

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store import store
from anomalyvfm_opt.store.engine import URL_VARIABLE, make_engine, normalise_url, shown
from anomalyvfm_opt.store.store import resolve_url

FULL = "postgresql+psycopg2://me@host:5433/db?sslmode=require"
WITH_PASSWORD = FULL.replace("me@", "me:p%40ss%2Fw@")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_all_spellings_become_one(scheme):
    assert normalise_url(FULL.replace("postgresql+psycopg2", scheme)) == FULL


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///secret.db",
        "mysql://me:hunter2@host/db",
        "postgresql+asyncpg://me:hunter2@host/db?password=hunter2",
        "postgresql://me:hunter2@host:port/db",
        "me:hunter2@host",
        "",
    ],
)
def test_other_databases_are_refused_without_showing_the_password(url):
    with pytest.raises(UsageError) as caught:
        resolve_url(url)
    assert "--db" in caught.value.message
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        WITH_PASSWORD.replace("p%40ss%2Fw", "hunter2"),
        "postgresql://me:hunter2@host/db",
        "postgres://me:@host/db",
        "postgresql://me:hun@hunter2@host/db",
        "postgresql://me:hun/hunter2@host/db",
        "postgresql://me/you:hunter2@host/db",
        "postgresql://me:hun?hunter2@host/db",
        "postgresql://me:hun#hunter2@host:5432/db",
        "postgresql://me:hun:hunter2@[::1]/db",
        "postgresql://me@host/db?password=hunter2",
        "postgresql://me@host/db?sslmode=require&sslpassword=hunter2",
    ],
)
def test_a_password_in_the_url_is_refused_and_never_shown(monkeypatch, url):
    monkeypatch.setenv(URL_VARIABLE, url)
    for flag, source in ((url, "--db"), (None, URL_VARIABLE)):
        with pytest.raises(UsageError, match=f"^{source}: the URL has a password in it") as caught:
            resolve_url(flag)
        assert "PG" in caught.value.hint
        assert "hun" not in str(caught.value)
    with pytest.raises(UsageError, match="password"):
        make_engine(url)


def test_shown_hides_every_password():
    assert shown(WITH_PASSWORD) == "postgresql+psycopg2://me:***@host:5433/db?sslmode=require"
    assert shown("postgresql://h/db?password=x&sslpassword=y&user=u") == "postgresql://h/db?user=u"


def test_flag_wins_over_variable(monkeypatch):
    monkeypatch.setenv(URL_VARIABLE, "postgresql://variable/db")
    assert make_url(resolve_url("postgresql://flag/db")).host == "flag"
    assert make_url(resolve_url(None)).host == "variable"


def test_a_bad_variable_is_named(monkeypatch):
    monkeypatch.setenv(URL_VARIABLE, "sqlite://")
    with pytest.raises(UsageError, match=URL_VARIABLE):
        resolve_url(None)


@pytest.mark.parametrize("value", ["", None])
def test_without_either_the_embedded_one_is_started(monkeypatch, tmp_path, value):
    class Fake:
        def __init__(self, home):
            self.home, self.is_up = home, False

        def up(self):
            self.is_up = True

        def url(self):
            assert self.is_up
            return f"embedded in {self.home}"

    monkeypatch.setenv("ANOMALYVFM_OPT_HOME", str(tmp_path))
    monkeypatch.setattr(store, "EmbeddedCluster", Fake)
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(URL_VARIABLE, value)
    assert resolve_url(None) == f"embedded in {tmp_path}"


def test_settings_in_the_url_win_over_ours(monkeypatch):
    seen = {}

    def connect(*_args, **settings):
        seen.update(settings)
        raise RuntimeError("no server needed")

    monkeypatch.setattr("psycopg2.connect", connect)
    with pytest.raises(RuntimeError, match="no server needed"):
        make_engine("postgresql://host/db?connect_timeout=3").connect()
    assert seen["connect_timeout"] == "3"
    assert seen["application_name"] == "anomalyvfm-opt"
    assert seen["keepalives"] == 1
