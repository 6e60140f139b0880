"""A submission's archive is the folder, packed the same way each time; what is not, is named."""

import gzip
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from anomalyvfm_opt.inference.submission.archive import compare_archive, name_archive, pack_archive
from anomalyvfm_opt.inference.submission.inspection import inspect_submission
from tests.unit.inference.submissions import MAP, WANTED, put_value, write_submission


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_submission(tmp_path / "mine")


def test_an_archive_is_the_same_bytes_each_time_and_has_the_folder_on_top(root: Path) -> None:
    archive = name_archive(root)
    assert archive.name == "mine.tar.gz"
    pack_archive(root, archive)
    first = archive.read_bytes()
    os.utime(root / MAP, (0, 0))
    pack_archive(root, archive)
    assert archive.read_bytes() == first
    with tarfile.open(archive) as tar:
        assert tar.getnames()[0] == "mine"
        assert all(name.startswith("mine/") for name in tar.getnames()[1:])
        assert sum(member.isreg() for member in tar) == 2 * len(WANTED)
    found = inspect_submission(root, WANTED)
    assert (found.faults, found.has_archive) == ((), True)


def repack(change: Callable[[Path], object]) -> Callable[[Path, Path], object]:
    """Pack a folder that was changed, and change nothing of the one beside the archive."""

    def spoil(root: Path, archive: Path) -> None:
        kept = root.with_name("kept")
        shutil.copytree(root, kept)
        change(root)
        pack_archive(root, archive)
        shutil.rmtree(root)
        kept.rename(root)

    return spoil


def pack_under_another_name(root: Path, archive: Path) -> None:
    other = root.rename(root.with_name("other"))
    pack_archive(other, archive)
    other.rename(root)


def pack_what_is_in_it(root: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        for part in sorted(root.iterdir()):
            tar.add(part, part.name)


def pack_a_link(root: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        for path in [root, *sorted(root.rglob("*"))]:
            member = tar.gettarinfo(path, f"mine/{path.relative_to(root)}" if path != root else "mine")
            if path == root / MAP:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
            tar.addfile(member, path.open("rb") if member.isreg() else None)


def pack_and_change(change: Callable[[bytes], bytes]) -> Callable[[Path, Path], object]:
    def spoil(root: Path, archive: Path) -> None:
        pack_archive(root, archive)
        archive.write_bytes(change(archive.read_bytes()))

    return spoil


def pack_and_cut(root: Path, archive: Path) -> None:
    pack_archive(root, archive)
    os.truncate(archive, archive.stat().st_size // 2)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (repack(put_value(5)), f"mine.tar.gz: mine/{MAP}: is not what is in the folder"),
        (repack(lambda root: (root / MAP).unlink()), f"mine.tar.gz: mine/{MAP}: missing"),
        (repack(lambda root: (root / "a").touch()), "mine.tar.gz: mine/a: is not in the folder"),
        (
            pack_under_another_name,
            "mine.tar.gz: has 'other' on top; wanted is the folder 'mine', and anomaly_images",
        ),
        (pack_what_is_in_it, "mine.tar.gz: has 'anomaly_images', 'anomaly_images_thresholded' on top; wanted is"),
        (pack_a_link, f"mine.tar.gz: mine/{MAP}: is of another kind than in the folder"),
        (pack_and_cut, "mine.tar.gz: cannot be read"),
        (pack_and_change(lambda content: content[:-4]), "mine.tar.gz: cannot be read"),
        (pack_and_change(lambda content: content[:-8] + b"1234" + content[-4:]), "mine.tar.gz: cannot be read"),
        (pack_and_change(lambda content: content + b"junk"), "mine.tar.gz: cannot be read"),
        (
            pack_and_change(lambda content: content + gzip.compress(b"junk")),
            "mine.tar.gz: has more behind its end",
        ),
        (lambda _root, archive: archive.write_bytes(b"no archive"), "mine.tar.gz: cannot be read"),
        (lambda _root, archive: archive.mkdir(), "mine.tar.gz: cannot be read"),
    ],
)
def test_an_archive_that_is_not_the_folder_is_named(
    root: Path, spoil: Callable[[Path, Path], object], said: str
) -> None:
    spoil(root, name_archive(root))
    faults = inspect_submission(root, WANTED).faults
    assert any(fault.startswith(said) for fault in faults), faults
    assert list(faults) == compare_archive(name_archive(root), root)


@pytest.mark.parametrize("pack", [pack_under_another_name, pack_what_is_in_it])
def test_an_archive_without_the_folder_on_top_is_one_fault(
    root: Path, pack: Callable[[Path, Path], object]
) -> None:
    pack(root, name_archive(root))
    assert len(inspect_submission(root, WANTED).faults) == 1
