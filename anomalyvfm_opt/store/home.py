"""The state folder, where the embedded database and caches of this host live, and the folder of artifacts."""

import os
from pathlib import Path

import platformdirs

from anomalyvfm_opt.errors import EnvironmentMissingError

HOME_VARIABLE = "ANOMALYVFM_OPT_HOME"
ARTIFACTS_VARIABLE = "ANOMALYVFM_OPT_ARTIFACTS"
ROOT_HOME = Path("/var/lib/anomalyvfm-opt")
_HINT = f"set {HOME_VARIABLE} to a folder that you can write to"


def state_folder() -> Path:
    """Return the state folder, made if it is not there: `ANOMALYVFM_OPT_HOME`, else the user's data folder.

    Root's default lies under /var/lib, because the database then runs as another user, who has to reach
    it. A folder that is already there keeps its mode, whoever made it.

    Raises:
        EnvironmentMissingError: it, or a parent of it, is a file or cannot be written to.
    """
    folder = locate_state_folder()
    create_folder(folder)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise EnvironmentMissingError(f"the state folder {folder} cannot be written to", _HINT)
    return folder


def locate_state_folder() -> Path:
    """Return where the state folder is or would be; nothing is made.

    Raises:
        EnvironmentMissingError: nothing names it, and this user has no home.
    """
    given = os.environ.get(HOME_VARIABLE, "")
    if given:
        return _expand(HOME_VARIABLE, given)
    if os.geteuid() == 0:
        return ROOT_HOME
    try:
        return platformdirs.user_data_path("anomalyvfm-opt", appauthor=False)
    except RuntimeError:
        raise EnvironmentMissingError(
            f"user {os.geteuid()} has no home folder here: HOME is not set, and passwd has no entry for them",
            _HINT,
        ) from None


def artifacts_folder() -> Path:
    """Return where trials' files go, made if missing: `ANOMALYVFM_OPT_ARTIFACTS`, else in the state folder.

    Hosts may share it. A folder that is already there keeps its mode.

    Raises:
        EnvironmentMissingError: it, or a parent of it, is a file or cannot be written to.
    """
    folder = locate_artifacts()
    if not os.environ.get(ARTIFACTS_VARIABLE, ""):
        state_folder()
    hint = f"set {ARTIFACTS_VARIABLE} to a folder that you can write to"
    create_folder(folder, "the folder of artifacts", hint, mode=0o700)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise EnvironmentMissingError(f"the folder of artifacts {folder} cannot be written to", hint)
    return folder


def locate_artifacts() -> Path:
    """Return where trials' files are or would be; nothing is made."""
    given = os.environ.get(ARTIFACTS_VARIABLE, "")
    return _expand(ARTIFACTS_VARIABLE, given) if given else locate_state_folder() / "artifacts"


def locate_outlines() -> Path:
    """Return where what backbones can give is or would be kept; nothing is made."""
    return locate_state_folder() / "outlines"


def _expand(variable: str, given: str) -> Path:
    try:
        return Path(given).expanduser().absolute()
    except RuntimeError as error:
        raise EnvironmentMissingError(
            f"{variable}={given}: {error}", f"set {variable} to a folder that you can write to"
        ) from None


def create_folder(
    folder: Path, what: str = "the state folder", hint: str = _HINT, mode: int | None = None
) -> None:
    """Make a folder of ours, closed to others: 0700, or for root 0711, which lets others pass but not list.

    Args:
        folder: with its parents.
        what: it is, for an error.
        hint: what to do about an error.
        mode: another one, where nobody else has to pass; a folder that is there keeps its own.

    Raises:
        EnvironmentMissingError: a file is in the way, or the parent cannot be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        by_default = 0o711 if os.geteuid() == 0 else 0o700
        folder.mkdir(mode=mode or by_default, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        culprit = next(
            (path for path in (folder, *folder.parents) if os.path.lexists(path) and not path.is_dir()),
            folder,
        )
        raise EnvironmentMissingError(f"{what} {folder} cannot be made: {culprit} is not a folder", hint) from None
    except OSError as error:
        raise EnvironmentMissingError(
            f"{what} {folder} cannot be made: {error.strerror} ({error.filename})", hint
        ) from None
