"""Whether a file is refused."""

from collections.abc import Callable
from pathlib import Path

from anomalyvfm_opt.data.images import read_image
from anomalyvfm_opt.errors import BadDataError


def is_refused(path: Path, read: Callable[[Path], object] = read_image) -> bool:
    try:
        read(path)
    except BadDataError:
        return True
    return False
