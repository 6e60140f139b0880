"""The URL of a database: what is understood, what is refused, and what is never shown."""

import pytest
from sqlalchemy import make_url

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store import store
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.store import resolve_url
from anomalyvfm_opt.store.url import URL_VARIABLE, normalise_url, read_settings, shown

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


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
@pytest.mark.parametrize(
    "query",
    ["PASSWORD=hunter2", "Password=hunter2", "pwd=hunter2", "hunter2=x", "hun%20ter2=x"],
)
def test_a_setting_that_is_not_known_is_refused_and_never_shown(scheme, query):
    with pytest.raises(UsageError, match="does not know") as caught:
        normalise_url(f"{scheme}://me@host/db?sslmode=require&{query}")
    assert "hun" not in str(caught.value)


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
        "postgresql://me@host/db?oauth_client_secret=hunter2",
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

        def reach(self):
            assert self.is_up
            return f"embedded in {self.home}"

    monkeypatch.setenv("ANOMALYVFM_OPT_HOME", str(tmp_path))
    monkeypatch.setattr(store, "EmbeddedCluster", Fake)
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(URL_VARIABLE, value)
    assert resolve_url(None) == f"embedded in {tmp_path}"


@pytest.mark.parametrize("blanks", [("", "\n"), (" ", ""), ("\t", " \r\n")])
def test_blanks_around_a_url_are_cut_off(monkeypatch, blanks):
    assert normalise_url(FULL.join(blanks)) == FULL
    monkeypatch.setenv(URL_VARIABLE, FULL.join(blanks))
    assert resolve_url(None) == FULL


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://h/db?passfile=/x?password=hunter2", "a second \\? in it"),
        ("postgresql://h/db?application_name=PASSWORD=hunter2", "has a password in it"),
        ("postgresql://h/db%00", "control character"),
        ("postgresql://h/d\nb", "control character"),
        ("postgresql://h/db?host=%00", "control character"),
        ("postgresql://h:9,i:9/db", "several hosts are written \\?host=HOST:PORT&host=HOST:PORT"),
        ("postgresql://h/db?port=x", "hosts and ports cannot be read: .*non-integer"),
        ("postgresql:///db?host=h:1&host=i:2&port=8", "hosts and ports cannot be read"),
        ("postgresql://h:0/db", "the port '0'"),
        ("postgresql://h:99999/db", "the port '99999'"),
        ("postgresql://h/db?port=99999", "the port '99999'"),
        ("postgresql:///db?host=h,i&port=9,99999", "the port '99999'"),
        ("postgresql://h/db?sslmode=maybe", "invalid sslmode value"),
        ("postgresql://h/db?sslmode=require&sslmode=disable", "has sslmode 2 times"),
        ("postgresql://h/db?target_session_attrs=x", "invalid target_session_attrs value"),
        ("postgresql://h/db?connect_timeout=soon", "connect_timeout=soon is no whole number"),
        ("postgresql://h/db?keepalives=9999999999", "keepalives=9999999999 is no whole number"),
        ("postgresql://h/db?hostaddr=h", "hostaddr=h is no address"),
    ],
)
def test_what_can_never_work_is_refused_before_anything_is_asked(url, words):
    with pytest.raises(UsageError, match=words) as caught:
        normalise_url(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("postgresql://%2Frun%2Fpg/db", {"host": "/run/pg", "dbname": "db"}),
        ("postgresql://me@%2Frun%2Fpg:5433/db", {"host": "/run/pg", "port": "5433", "user": "me", "dbname": "db"}),
        ("postgresql:///db?host=/run/pg", {"host": "/run/pg", "dbname": "db"}),
        ("postgresql:///db?host=h:1&host=i:2", {"host": "h,i", "port": "1,2", "dbname": "db"}),
        ("postgresql:///db?host=h,i&port=1,2", {"host": "h,i", "port": "1,2", "dbname": "db"}),
        ("postgresql://u%40d@[::1]/a%40b", {"host": "::1", "user": "u@d", "dbname": "a@b"}),
    ],
)
def test_a_place_is_understood_however_it_is_written(url, settings):
    spelled = normalise_url(url)
    assert normalise_url(spelled) == spelled
    assert read_settings(make_url(spelled)) == settings


def test_options_are_taken_and_not_shown():
    url = normalise_url("postgresql://h/db?options=-c%20x%3Dhunter2&sslmode=require")
    assert "hunter2" in url
    assert shown(url) == "postgresql+psycopg2://h/db?sslmode=require"


def test_a_service_is_left_to_the_connection():
    assert normalise_url("postgresql://h/db?service=nope").endswith("?service=nope")
