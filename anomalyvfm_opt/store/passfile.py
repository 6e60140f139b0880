"""The password file that libpq would read, and why it found no password there."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.files import place_in_home

_FIELD = re.compile(r"((?:\\.|[^:\\])*)(?::|$)")
_PASSWORD = 4  # its place in a line; the user stands before it
_ADVICE = "put it into a file of mode 0600 and name it by PGPASSFILE, or by passfile= in the URL"


def explain_no_password(url: URL | None) -> tuple[str, str]:
    """Return why libpq had no password to send, and what to do; it ignores a file that others may read.

    Args:
        url: of the database; None if it is not known.

    Returns:
        The reason, empty if no file was named, and the hint.
    """
    named = (url.query.get("passfile") if url is not None else None) or os.environ.get("PGPASSFILE")
    path = Path(str(named)) if named else place_in_home(".pgpass")
    if not path.exists():
        return (f"there is no file {path}", _ADVICE) if named else ("", _ADVICE)
    if not path.is_file():
        return f"{path} is not a plain file", _ADVICE
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        return f"{path} is ignored, since others may read it (mode {mode:04o})", f"chmod 600 {path}"
    if not os.access(path, os.R_OK):
        return f"{path} cannot be read by this user", f"chown it to the user who runs this, then chmod 600 {path}"
    if url is None:
        return f"{path} has no line for it", "add the line HOST:PORT:DATABASE:USER:PASSWORD"
    wanted = (url.host or "localhost", str(url.port or 5432), url.database or url.username, url.username)
    line = ":".join(escape(part or "USER") for part in wanted)
    return f"{path} has no line for it", f"add the line {line}:PASSWORD to {path}"


def format_line(host: str, user: str, password: str) -> str:
    """Return a line that holds for any port and any database of a host."""
    return f"{escape(host)}:*:*:{escape(user)}:{escape(password)}\n"


def read_passwords(path: Path) -> Mapping[str, str]:
    """Return the passwords that a file has: user -> password, of the first line for each.

    Raises:
        UsageError: it is not a plain file that can be read.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not a plain file", "name a password file in libpq's format")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {type(error).__name__}", "name a password file that can"
        ) from None
    found: dict[str, str] = {}
    for line in lines:
        fields = [re.sub(r"\\(.)", r"\1", field) for field in _FIELD.findall(line)]
        if len(fields) > _PASSWORD and not line.startswith("#"):
            found.setdefault(fields[_PASSWORD - 1], fields[_PASSWORD])
    return found


def escape(part: str) -> str:
    """Return a field of a password file: a colon (in IPv6) or a backslash in it has one before it."""
    return part.replace("\\", "\\\\").replace(":", "\\:")
