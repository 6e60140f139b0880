"""A token file that is no file."""

import os
from pathlib import Path

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.report.dashboard import read_token


def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    os.mkfifo(path, 0o600)
    with pytest.raises(UsageError, match="cannot be read: it is a named pipe, not a plain file"):
        read_token(path)


def test_a_file_that_is_much_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    os.truncate(path, 2**40)
    with pytest.raises(UsageError, match="larger than 4,096 bytes"):
        read_token(path)
