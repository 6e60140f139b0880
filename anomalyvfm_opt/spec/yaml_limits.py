"""What a spec file may be at most, seen in the events of the parser, before anything is formed of them.

An alias stands for all that its anchor holds: nine lines of nine aliases each are a document of billions of
values. So what is counted is what the document would be.
"""

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    NodeEvent,
    ScalarEvent,
)

FILE_BYTES = 2**17  # ruamel.yaml's time is quadratic in empty lines: 2 s here, minutes at 1 MiB
_NODES, _DEPTH, _NUMBER_CHARACTERS = 5_000, 20, 100


class TooLargeError(Exception):
    """A document that is not read.

    Args:
        reason: which limit it passes.
        line: from 1.
        column: from 1.
    """

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(reason)
        self.reason, self.line, self.column = reason, line, column


def check_size(text: str) -> None:
    """Refuse a document of too many values, too deep a nest, or a number too long.

    Raises:
        TooLargeError: with the place where the limit was passed.
        YAMLError: it is no YAML.
    """
    count = _Count()
    for event in YAML(typ="rt", pure=True).parse(text):
        reason = count.add(event)
        if reason:
            mark = event.start_mark
            raise TooLargeError(reason, mark.line + 1, mark.column + 1)


class _Count:
    def __init__(self) -> None:
        self._nodes = 0
        self._of_anchors: dict[str, int] = {}
        self._open: list[tuple[str | None, int]] = []  # anchor, and the count when it began

    def add(self, event: object) -> str:
        """Count one event; say which limit it passes, if any."""
        if isinstance(event, DocumentStartEvent):
            self._of_anchors.clear()
        elif isinstance(event, AliasEvent):
            if event.anchor in [anchor for anchor, _ in self._open]:
                return "an alias stands inside of what it stands for"
            self._nodes += self._of_anchors.get(event.anchor, 1)  # an unknown one is refused later
        elif isinstance(event, CollectionEndEvent):
            anchor, before = self._open.pop()
            self._keep(anchor, self._nodes - before)
        elif isinstance(event, NodeEvent):
            self._nodes += 1
            if isinstance(event, CollectionStartEvent):
                self._open.append((event.anchor, self._nodes - 1))
            else:
                self._keep(event.anchor, 1)
        return self._find_passed(event)

    def _keep(self, anchor: str | None, nodes: int) -> None:
        if anchor is not None:
            self._of_anchors[anchor] = nodes

    def _find_passed(self, event: object) -> str:
        if self._nodes > _NODES:
            return f"a spec has at most {_NODES:,} values, those that aliases stand for included"
        if len(self._open) > _DEPTH:
            return f"a spec is nested at most {_DEPTH} deep"
        is_plain = isinstance(event, ScalarEvent) and not event.style and event.value[:1] in "+-.0123456789"
        if is_plain and len(event.value) > _NUMBER_CHARACTERS:  # type: ignore[attr-defined]
            return f"a number in a spec has at most {_NUMBER_CHARACTERS} characters; put a text into quotes"
        return ""
