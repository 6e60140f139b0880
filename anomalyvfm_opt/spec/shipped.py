"""The specs that come with the program."""

from pathlib import Path

import anomalyvfm_opt
from anomalyvfm_opt.errors import EnvironmentMissingError


def find_shipped(name: str) -> Path:
    """Return the path of a shipped spec.

    Raises:
        EnvironmentMissingError: the installation lacks it.
    """
    path = find_folder() / name
    if not path.is_file():
        raise EnvironmentMissingError(f"the spec {name} is not part of this installation", "reinstall the program")
    return path


def find_folder() -> Path:
    """Return the folder of shipped specs: inside the package in an installed wheel, beside it in a checkout."""
    package = Path(anomalyvfm_opt.__file__).parent
    inside = package / "studies"
    return inside if inside.is_dir() else package.parent / "studies"
