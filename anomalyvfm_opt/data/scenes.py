"""What a file name says about an image: its scene and its light."""

import re

_NAME = re.compile(r"([0-9]+)(?:_([A-Za-z].*))?")


def parse_name(stem: str) -> tuple[str | None, str | None]:
    """Take a file name such as `003_regular` or `000_shift_1` apart.

    Only a number that is followed by nothing or by a word counts as a scene number: in `20260131_142501`
    it is a date, and every image would be of one scene.

    Args:
        stem: the file name without its suffix.

    Returns:
        The scene number and the light, each None where the name has none.
    """
    found = _NAME.fullmatch(stem)
    return (found[1], found[2]) if found else (None, None)
