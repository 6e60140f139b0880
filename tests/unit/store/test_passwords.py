"""Passwords of roles, read from files in libpq's format."""

import os
from pathlib import Path

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.passfile import format_line, read_passwords
from anomalyvfm_opt.store.passwords import find_passwords


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "passfile"
    awkward = 'a\\b:c"d'
    path.write_text("# a line of words\n\nshort:line\n" + format_line("::1", "w:1", awkward) + "h:5:d:v:second\n")
    assert read_passwords(path) == {"w:1": awkward, "v": "second"}


def test_the_first_line_of_a_role_counts_and_others_are_left(tmp_path: Path) -> None:
    path = tmp_path / "passfile"
    path.write_text("h:5:d:worker:one\nh:5:d:worker:two\nh:5:d:owner:three\n")
    assert find_passwords([path], ("worker", "viewer")) == {"worker": "one"}


def test_a_file_without_a_line_for_them_is_refused_and_shows_no_password(tmp_path: Path) -> None:
    path = tmp_path / "passfile"
    path.write_text("h:5:d:owner:secret\nh:5:d:worker:\n")
    with pytest.raises(UsageError, match="has no password for viewer or worker") as caught:
        find_passwords([path], ("worker", "viewer"))
    assert "secret" not in str(caught.value)


def test_what_is_no_file_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing", "."):
        with pytest.raises(UsageError, match="is not a plain file"):
            read_passwords(tmp_path / name)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read: UnicodeDecodeError"):
        read_passwords(tmp_path / "bytes")
