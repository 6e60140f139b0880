import os
from pathlib import Path

import platformdirs
import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store import home
from anomalyvfm_opt.store.home import HOME_VARIABLE, ROOT_HOME, state_folder


def test_variable_names_the_folder_and_it_is_closed_to_others(monkeypatch, tmp_path):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "a" / "b"))
    assert state_folder() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)


def test_a_folder_that_is_there_keeps_its_mode(monkeypatch, tmp_path):
    tmp_path.chmod(0o755)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    state_folder()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_relative_folder_and_tilde_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, "here")
    assert state_folder() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(HOME_VARIABLE, "~/there")
    assert state_folder() == tmp_path / "there"


@pytest.mark.parametrize(
    ("uid", "expected"), [(0, ROOT_HOME), (1000, platformdirs.user_data_path("anomalyvfm-opt"))]
)
def test_default_is_under_var_lib_for_root_alone(monkeypatch, uid, expected):
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(home, "create_folder", lambda _folder: None)
    monkeypatch.setattr(os, "access", lambda _path, _mode: True)
    assert state_folder() == expected


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_file_in_the_way_is_named(monkeypatch, tmp_path, below):
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setenv(HOME_VARIABLE, str(file / below))
    with pytest.raises(EnvironmentMissingError) as caught:
        state_folder()
    assert f"{file} is not a folder" in str(caught.value)
    assert HOME_VARIABLE in caught.value.hint


def test_a_dangling_link_in_the_way_is_named(monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "far")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "link"))
    with pytest.raises(EnvironmentMissingError, match="link is not a folder"):
        state_folder()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder where even root may not write")
def test_a_place_that_cannot_be_written_to_is_named(monkeypatch):
    monkeypatch.setenv(HOME_VARIABLE, "/proc/anomalyvfm")
    with pytest.raises(EnvironmentMissingError, match="/proc/anomalyvfm cannot be made"):
        state_folder()


def test_an_unknown_user_in_the_variable_is_an_error(monkeypatch):
    monkeypatch.setenv(HOME_VARIABLE, "~nobody-has-this-name/x")
    with pytest.raises(EnvironmentMissingError, match=HOME_VARIABLE):
        state_folder()
