"""How often Python's collector looks for garbage: seldom in a short command, as usual in one that lives on.

Importing makes some hundred thousand objects that stay. By its usual threshold the collector goes through them
again and again: up to a tenth of the CPU time of a command that only reads.
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_SELDOM = 100_000
_USUAL = gc.get_threshold()


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Collect seldom for the length of a `with`, and nothing on the way out of the process."""
    gc.set_threshold(_SELDOM)
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        gc.set_threshold(*_USUAL)


def collect_as_usual() -> None:
    """Collect as often as Python does by itself: garbage of what lives for days holds memory and connections."""
    gc.set_threshold(*_USUAL)
