"""Recognise processes by their command line, which every user may read (unlike their folder)."""

import subprocess
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def is_alive(pid: int) -> bool:
    """Return whether a process with this id is to be seen, whoever owns it; a zombie is."""
    if not (_PROC / "self").exists():
        return pid in _list_commands()
    return (_PROC / str(pid)).exists()


def command_of(pid: int) -> str:
    """Return the command line of a process, separated by spaces; empty if it is gone, a zombie or hidden."""
    if not (_PROC / "self").exists():
        return _list_commands().get(pid, "")
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def find_processes(text: str, program: str, uid: int) -> list[int]:
    """Return the ids of a user's processes of one program whose command line contains `text`.

    Anybody may write the text into their arguments, so it alone proves nothing.

    Args:
        text: to look for.
        program: the executable's name.
        uid: of the user.
    """
    if not (_PROC / "self").exists():
        listed = _list_commands(uid).items()
        return [pid for pid, command in listed if text in command and _is_titled(command, program)]
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if is_process(pid, text, program, uid)]


def is_process(pid: int, text: str, program: str, uid: int) -> bool:
    """Return whether one process is of those that `find_processes` finds."""
    if not (_PROC / "self").exists():
        return pid in find_processes(text, program, uid)
    return text in command_of(pid) and _is_of(pid, program, uid)


def _is_of(pid: int, program: str, uid: int) -> bool:
    """Return whether a process runs a program for a user; not if it is gone."""
    folder = _PROC / str(pid)
    with suppress(FileNotFoundError, ProcessLookupError):
        if folder.stat().st_uid != uid:
            return False
        with suppress(PermissionError):  # in a container without the right to look; its title must do
            return (folder / "exe").readlink().name.removesuffix(" (deleted)") == program
        return _is_titled(command_of(pid), program)
    return False


def _is_titled(command: str, program: str) -> bool:
    """Return whether a command line begins with a program; a server's children put a colon after its name."""
    return Path(command.partition(" ")[0].rstrip(":")).name == program


def _list_commands(uid: int | None = None) -> dict[int, str]:
    """Command lines by process id, of one user or of all, on systems without /proc."""
    listed = subprocess.run(["/bin/ps", "-axo", "pid=,uid=,command="], capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return {int(row[0]): row[-1] for row in rows if uid in (None, int(row[1]))}
