"""The state folder and the disk that it lies on; neither is touched."""

import contextlib
import os
import pwd
import shutil
from pathlib import Path

from anomalyvfm_opt.doctor.check import CheckResult, fail, ok, warn
from anomalyvfm_opt.store.home import ARTIFACTS_VARIABLE, HOME_VARIABLE, locate_artifacts, locate_state_folder
from anomalyvfm_opt.words import counted

_ELSEWHERE = f"set {HOME_VARIABLE} to a folder that you can write to"
_LARGER = f"free space there, lower --cache-gib, or set {HOME_VARIABLE} to a folder on a larger disk"
_GIB = 2**30
_LEAST_FREE = 1 * _GIB  # below it, PostgreSQL and a first decoded category may already not fit
_FEW_INODES = 10_000
_IN_MEMORY = ("tmpfs", "ramfs")
_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "fuse.sshfs")
_MOUNTS = Path("/proc/self/mountinfo")

__all__ = ["find_file_system", "locate_state_folder", "look_at_disk", "look_at_state_folder"]


def look_at_state_folder() -> CheckResult:
    """Say whether it can be used, or could be made, by this user."""
    folder = locate_state_folder()
    if not os.path.lexists(folder):
        return _look_at_future(folder)
    if not folder.is_dir():
        return fail(f"{folder} is not a folder", _ELSEWHERE)
    status = folder.stat()
    owner, mode = _name_user(status.st_uid), f"{status.st_mode & 0o777:04o}"
    detail = f"{folder}, owner {owner}, mode {mode}"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return fail(f"{detail}: {_name_user(os.geteuid())} may not write there", _ELSEWHERE)
    if os.geteuid() not in (0, status.st_uid):
        return warn(f"{detail}: it belongs to another user", f"set {HOME_VARIABLE} to a folder of your own")
    if status.st_mode & 0o022 and not status.st_mode & 0o1000:
        return warn(f"{detail}: others may replace files in it", f"chmod go-w {folder}")
    return ok(detail)


def _look_at_future(folder: Path) -> CheckResult:
    """Say whether a folder that is not there could be made."""
    parent = _find_existing(folder)
    if not parent.is_dir():
        return fail(f"{folder} cannot be made: {parent} is not a folder", _ELSEWHERE)
    if not os.access(parent, os.W_OK | os.X_OK):
        return fail(f"{folder} cannot be made: {_name_user(os.geteuid())} may not write in {parent}", _ELSEWHERE)
    return ok(f"{folder}: not there yet; the first command makes it")


def look_at_disk(cache_bytes: int, *, is_for_worker: bool = False) -> CheckResult:
    """Free space against what the cache may take, inodes, and the kind of file system.

    Args:
        cache_bytes: the most that the cache may take: decoded images, and outputs of frozen blocks.
        is_for_worker: whether the check `artifacts` says, too, if trials' files can be written.
    """
    home = locate_state_folder()
    place = _find_existing(home)
    free = shutil.disk_usage(place).free
    cached = _measure(home / "cache")
    room = f"{free / _GIB:.1f} GiB free; the cache has {cached / _GIB:.1f} of at most {cache_bytes / _GIB:g} GiB"
    kind = find_file_system(place)
    detail = f"{room}; {_describe_artifacts()}; {kind or 'unknown file system'}"
    inodes = os.statvfs(place)
    if free < _LEAST_FREE:
        return fail(detail, _LARGER)
    if reason := _find_no_room_for_artifacts(place, is_for_worker):
        return fail(f"{detail}; {reason}", f"set {ARTIFACTS_VARIABLE} to a folder with room that you can write to")
    if inodes.f_files and inodes.f_favail < _FEW_INODES:
        return warn(
            f"{detail}; room for {counted(inodes.f_favail, 'more file')} (inodes)",
            f"delete files there, or {_LARGER}",
        )
    if kind in _IN_MEMORY:
        return warn(f"{detail}: it lies in memory and is gone after a restart", _ELSEWHERE + " on a disk")
    if kind.startswith(_NETWORK):
        fix = f"set {HOME_VARIABLE} to a folder on a disk of this host"
        return warn(f"{detail}: locks and a database on a network disk are slow, and may break", fix)
    if free + cached < cache_bytes:
        return warn(f"{detail}: the cache may fill this disk", _LARGER)
    if kind == "overlay":
        return ok(f"{detail}: a container's own layer, gone with the container")
    return ok(detail)


def _describe_artifacts() -> str:
    """Return what trials have left, which may lie on another disk."""
    folder = locate_artifacts()
    checkpoints = _measure(folder / "checkpoints")
    files = _measure(folder) - checkpoints
    where = f" in {folder}" if os.environ.get(ARTIFACTS_VARIABLE) else ""
    return f"trials' files{where} {files / _GIB:.1f} GiB, checkpoints {checkpoints / _GIB:.1f} GiB"


def _find_no_room_for_artifacts(home: Path, is_for_worker: bool) -> str:
    """Return why trials could leave nothing, on another disk perhaps; empty if they could.

    Args:
        home: the state folder, or its nearest parent that is there; another check looks whether it is open.
        is_for_worker: whether another check looks, too, if the folder for trials' files is open.
    """
    folder = locate_artifacts()
    place = _find_existing(folder)
    if not is_for_worker and place != home and not os.access(place, os.W_OK | os.X_OK):
        return f"trials' files cannot be written to {folder}"
    free = shutil.disk_usage(place).free
    return f"only {free / _GIB:.1f} GiB are free for trials' files in {folder}" if free < _LEAST_FREE else ""


def _measure(folder: Path) -> int:
    """Bytes of all files under a folder that we may look into."""
    total = 0
    for each, _, _ in os.walk(folder):
        with contextlib.suppress(FileNotFoundError):  # a trial has ended meanwhile
            total += sum(entry.stat().st_size for entry in _list_files(Path(each)))
    return total


def find_file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """Return the kind of file system that a path lies on, such as `ext4`; empty if the host does not say.

    Args:
        path: one that is there.
        mounts: a table of mounts as in Linux's `/proc/self/mountinfo`.
    """
    if not mounts.is_file():
        return ""
    target = path.resolve()
    best, kind = -1, ""
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        fields, _, rest = line.partition(" - ")
        point = Path(fields.split()[4].replace("\\040", " "))
        if target.is_relative_to(point) and len(point.parts) >= best:  # a later mount on the same point hides it
            best, kind = len(point.parts), rest.split()[0]
    return kind


def _find_existing(path: Path) -> Path:
    """Return the path itself, or the nearest parent that is there (and that we may see)."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))


def _list_files(folder: Path) -> list["os.DirEntry[str]"]:
    if not os.access(folder, os.R_OK | os.X_OK):
        return []
    with os.scandir(folder) as entries:
        return [entry for entry in entries if entry.is_file()]


def _name_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
