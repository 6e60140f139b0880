"""Words of messages that depend on what there is: how many of a thing, and which name is like a wrong one."""

import difflib
from collections.abc import Iterable

_VOWELS = "aeiou"


def counted(number: float, noun: str) -> str:
    """Return a number with its noun: `1 image`, `0 images`, `2 studies`.

    Args:
        number: how many, 0 or more; parts of one are written as far as they go, such as `0.5 GPUs`.
        noun: in the singular, whose plural is formed by the rule; words may stand before it.
    """
    shown = f"{number:g}" if isinstance(number, float) else str(number)
    if number == 1:
        return f"{shown} {noun}"
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return f"{shown} {noun[:-1]}ies"
    return f"{shown} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def ask_if_meant(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` with the known word that is most like a wrong one; empty if none is like it."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""
