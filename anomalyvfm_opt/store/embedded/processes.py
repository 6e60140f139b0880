"""Recognise processes by their command line, which every user may read (unlike their folder)."""

import subprocess
from pathlib import Path

_PROC = Path("/proc")


def is_alive(pid: int) -> bool:
    """Return whether a process with this id is to be seen, whoever owns it; a zombie is."""
    if not (_PROC / "self").exists():
        return pid in _list_commands()
    return (_PROC / str(pid)).exists()


def command_of(pid: int) -> str:
    """The command line of a process, its arguments separated by spaces; empty if gone, a zombie or hidden."""
    if not (_PROC / "self").exists():
        return _list_commands().get(pid, "")
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def find_processes(text: str) -> list[int]:
    """Ids of all processes whose command line contains `text`."""
    if not (_PROC / "self").exists():
        return [pid for pid, command in _list_commands().items() if text in command]
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if text in command_of(pid)]


def _list_commands() -> dict[int, str]:
    """Command lines by process id, on systems without /proc."""
    listed = subprocess.run(["/bin/ps", "-axo", "pid=,command="], capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    return {int(row[0]): row[-1] for row in rows}
