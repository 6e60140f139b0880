"""Files by their content: whole or not there, whoever writes beside us."""

import errno
import os
import threading
from pathlib import Path

import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.artifacts import Artifact, ArtifactFolder, put_all
from anomalyvfm_opt.store.home import ARTIFACTS_VARIABLE, HOME_VARIABLE, artifacts_folder, locate_artifacts

CONTENT = b"adapter and heads" * 1000


@pytest.fixture
def folder(tmp_path: Path) -> ArtifactFolder:
    return ArtifactFolder(tmp_path / "artifacts")


def list_files(folder: ArtifactFolder) -> list[Path]:
    return [path for path in folder.root.rglob("*") if path.is_file()]


def test_what_was_put_is_found_by_its_hash(folder: ArtifactFolder, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    artifact = folder.put(CONTENT)
    assert folder.put(file) == artifact
    assert artifact.size_bytes == len(CONTENT)
    assert folder.verify(artifact.sha256) == folder.path(artifact.sha256)
    assert folder.path(artifact.sha256).read_bytes() == CONTENT
    assert list_files(folder) == [folder.path(artifact.sha256)]
    assert put_all(folder, {"detector": CONTENT, "other": b""}) == {
        "detector": artifact,
        "other": Artifact("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0),
    }


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], b"x" + CONTENT[1:]], ids=["empty", "short", "changed"])
def test_a_damaged_file_is_found_and_can_be_put_again(folder: ArtifactFolder, damage: bytes) -> None:
    artifact = folder.put(CONTENT)
    folder.path(artifact.sha256).write_bytes(damage)
    with pytest.raises(EnvironmentMissingError, match="is damaged: its content has the hash"):
        folder.verify(artifact.sha256)
    folder.put(CONTENT)
    folder.verify(artifact.sha256)


def test_a_missing_file_is_an_error_of_the_environment(folder: ArtifactFolder) -> None:
    with pytest.raises(EnvironmentMissingError, match="cannot be read: No such file") as caught:
        folder.verify("ab" * 32)
    assert ARTIFACTS_VARIABLE in caught.value.hint


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_full_disk_leaves_nothing_half_written(
    folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    kept = folder.put(b"before")
    with monkeypatch.context() as full:
        full.setattr(step, fail)
        with pytest.raises(EnvironmentMissingError, match="No space left on device") as caught:
            folder.put(CONTENT)
    assert ARTIFACTS_VARIABLE in caught.value.hint
    assert list_files(folder) == [folder.path(kept.sha256)]
    folder.verify(folder.put(CONTENT).sha256)


def test_a_file_in_the_way_is_an_error_of_the_environment(folder: ArtifactFolder) -> None:
    folder.root.write_text("not a folder")
    with pytest.raises(EnvironmentMissingError, match=f"cannot store a trial's file in {folder.root}"):
        folder.put(CONTENT)


def test_the_same_content_can_be_put_by_many_at_once(folder: ArtifactFolder) -> None:
    found: list[Artifact] = []
    threads = [
        threading.Thread(target=lambda: found.extend(folder.put(CONTENT) for _ in range(20))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert len(set(found)) == 1
    assert list_files(folder) == [folder.verify(found[0].sha256)]


def test_artifacts_lie_in_the_state_folder_or_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(ARTIFACTS_VARIABLE, raising=False)
    assert locate_artifacts() == tmp_path / "home" / "artifacts"
    assert not (tmp_path / "home").exists()
    assert artifacts_folder() == tmp_path / "home" / "artifacts"
    passable = 0o711 if os.geteuid() == 0 else 0o700  # by the user that root's database runs as
    for made, mode in ((tmp_path / "home", passable), (tmp_path / "home" / "artifacts", 0o700)):
        assert made.stat().st_mode & 0o777 == mode

    (tmp_path / "shared").mkdir(mode=0o775)
    mode = (tmp_path / "shared").stat().st_mode
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(tmp_path / "shared"))
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "unused"))
    assert artifacts_folder() == tmp_path / "shared"
    assert (tmp_path / "shared").stat().st_mode == mode
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("given", ["file/artifacts", "~nobody-has-this-name/x"])
def test_a_folder_that_cannot_be_made_is_named_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ARTIFACTS_VARIABLE, given)
    with pytest.raises(EnvironmentMissingError, match=r"artifacts|ARTIFACTS") as caught:
        artifacts_folder()
    assert ARTIFACTS_VARIABLE in str(caught.value)
