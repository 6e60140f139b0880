"""Words that depend on a number."""

_VOWELS = "aeiou"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 image`, `0 images`, `2 studies`.

    Args:
        number: how many, 0 or more.
        noun: in the singular, whose plural is formed by the rule; words may stand before it.
    """
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return f"{number} {noun[:-1]}ies"
    return f"{number} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"
