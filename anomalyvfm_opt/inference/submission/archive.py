"""`ROOT.tar.gz`: the same files in the same order give the same bytes, and nothing else is in it."""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from anomalyvfm_opt.durable import written_whole
from anomalyvfm_opt.files import open_plain
from anomalyvfm_opt.inference.submission.layout import MAPS, MASKS

_LEVEL = 3  # maps shrink to a half; level 6 takes twice as long for a twentieth less
_CHUNK = 2**20
_SHOWN_TOPS = 3
_BROKEN = (OSError, EOFError, tarfile.TarError, zlib.error, ValueError)
"""What a damaged archive raises."""


def name_archive(root: Path) -> Path:
    """Return the path of the archive that belongs to a folder."""
    return root.with_name(f"{root.name}.tar.gz")


def pack_archive(root: Path, archive: Path) -> None:
    """Write a folder as an archive with the folder on top, whole or not at all.

    Owners, rights and times are left out.

    Args:
        root: the folder, which holds plain files and folders.
        archive: the file to make.

    Raises:
        OSError: a file cannot be read, or the disk is full.
    """
    with (
        written_whole(archive) as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, path in _walk(root):
            member = tarfile.TarInfo(name)
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
                continue
            with path.open("rb") as content:
                member.size, member.mode = os.fstat(content.fileno()).st_size, 0o644
                tar.addfile(member, content)


def compare_archive(archive: Path, root: Path) -> list[str]:
    """Return how an archive differs from its folder, a line each, with the member; none if it does not.

    Args:
        archive: the file.
        root: the folder.
    """
    wanted = dict(_walk(root))
    seen: set[str] = set()
    faults = []
    end = ""
    try:
        with open_plain(archive) as file, gzip.GzipFile(fileobj=file) as unzipped:
            with tarfile.open(fileobj=unzipped, mode="r|") as tar:
                for member in tar:
                    if problem := _compare_member(tar, member, wanted, seen):
                        faults.append(f"{archive.name}: {member.name}: {problem}")
                    seen.add(member.name)
            while rest := unzipped.read(_CHUNK):  # to the end, where the checksum is
                if rest.strip(b"\0"):
                    end = "has more behind its end"
                    break
    except _BROKEN as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        end = f"cannot be read: {reason}"
    ending = [f"{archive.name}: {end}"] if end else []
    if seen and not seen & wanted.keys():
        return [f"{archive.name}: {_describe_top(seen, root.name)}", *ending]
    return [*faults, *(ending or [f"{archive.name}: {name}: missing" for name in wanted if name not in seen])]


def _describe_top(names: set[str], wanted: str) -> str:
    """Return what is wrong with an archive that has other things on top than the folder."""
    tops = sorted({name.split("/")[0] or "/" for name in names})
    more = f" and {len(tops) - _SHOWN_TOPS} more" if len(tops) > _SHOWN_TOPS else ""
    found = ", ".join(map(repr, tops[:_SHOWN_TOPS])) + more
    return f"has {found} on top; wanted is the folder {wanted!r}, and {' and '.join((MAPS, MASKS))} in it"


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    """List a folder and all that is in it, sorted, by the names that members have."""
    yield root.name, root
    for place, folders, files in os.walk(root):
        folders.sort()
        for name in sorted([*folders, *files]):
            path = Path(place) / name
            yield f"{root.name}/{path.relative_to(root).as_posix()}", path


def _compare_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, wanted: dict[str, Path], seen: set[str]
) -> str | None:
    if member.name in seen:
        return "is there twice"
    path = wanted.get(member.name)
    if path is None:
        return "is not in the folder"
    if not (member.isdir() or member.isreg()) or member.isdir() != path.is_dir():
        return "is of another kind than in the folder"
    content = tar.extractfile(member)
    if content is not None:
        with open_plain(path) as own:
            if not _is_same(content, own):
                return "is not what is in the folder"
    return None


def _is_same(one: IO[bytes], other: IO[bytes]) -> bool:
    while chunk := one.read(_CHUNK):
        if chunk != other.read(len(chunk)):
            return False
    return not other.read(1)
