import pytest
from sqlalchemy.engine import make_url

from anomalyvfm_opt.store.passfile import explain_no_password, format_line


@pytest.fixture
def passfile(monkeypatch, tmp_path):
    path = tmp_path / "passfile"
    path.touch(mode=0o600)
    monkeypatch.setenv("PGPASSFILE", str(path))
    return path


def test_colons_and_backslashes_are_escaped():
    assert format_line("fe80::1", "me", "a\\b") == "fe80\\:\\:1:*:*:me:a\\\\b\n"


def test_the_line_to_add_is_the_one_that_libpq_looks_for(passfile):
    url = make_url("postgresql://me@[fe80::1]:5433/vision")
    reason, hint = explain_no_password(url)
    assert reason == f"{passfile} has no line for it"
    assert hint == f"add the line fe80\\:\\:1:5433:vision:me:PASSWORD to {passfile}"


def test_the_file_in_the_url_comes_before_the_variable(passfile, tmp_path):
    other = tmp_path / "other"
    reason, _ = explain_no_password(make_url(f"postgresql://me@host/db?passfile={other}"))
    assert reason == f"there is no file {other}"


@pytest.mark.parametrize(("mode", "words"), [(0o640, "mode 0640"), (0o604, "mode 0604")])
def test_a_file_that_others_may_read_is_ignored(passfile, mode, words):
    passfile.chmod(mode)
    reason, hint = explain_no_password(None)
    assert words in reason
    assert hint == f"chmod 600 {passfile}"


def test_a_folder_is_no_password_file(monkeypatch, tmp_path):
    monkeypatch.setenv("PGPASSFILE", str(tmp_path))
    assert explain_no_password(None)[0] == f"{tmp_path} is not a plain file"


def test_where_nothing_is_named_the_advice_is_to_name_one(monkeypatch, tmp_path):
    monkeypatch.delenv("PGPASSFILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    reason, hint = explain_no_password(make_url("postgresql://me@host/db"))
    assert reason == ""
    assert "PGPASSFILE" in hint
