"""The specs that come with the program."""

from pathlib import Path

import anomalyvfm_opt
from anomalyvfm_opt.errors import EnvironmentMissingError


def find_shipped(name: str) -> Path:
    """Path of a shipped spec: beside the package in a checkout, inside it in an installed wheel.

    Raises:
        EnvironmentMissingError: the installation lacks it.
    """
    package = Path(anomalyvfm_opt.__file__).parent
    for folder in (package / "studies", package.parent / "studies"):
        if (folder / name).is_file():
            return folder / name
    raise EnvironmentMissingError(f"the spec {name} is not part of this installation", "reinstall the program")
