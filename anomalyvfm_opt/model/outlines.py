"""The outlines of models, known without building their networks.

Those of common models are shipped in outlines.json, which a test compares with the networks themselves. Those of
others are measured on torch's meta device, which takes seconds, and kept in a folder. No torch in here.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anomalyvfm_opt.durable import write_whole
from anomalyvfm_opt.files import read_plain
from anomalyvfm_opt.model.outline import Outline
from anomalyvfm_opt.model.targets import match_any_target

_MOST_BYTES = 2**24  # a thousand times what one takes
_SHIPPED = Path(__file__).with_name("outlines.json")


def find_outline(name: str, input_px: int, folder: Path | None = None) -> Outline | None:
    """Return the outline of a model of timm; None if timm has no such model or no such weights tag.

    Args:
        name: of the model, with or without a weights tag.
        input_px: side of its input.
        folder: where measured outlines are kept, made if its parent is there; None keeps none.

    Raises:
        UsageError: timm cannot build it at that size, or it has no blocks that can be adapted.
    """
    known = _read_shipped().get(name)
    if known is not None:
        return known
    patterns = [match_any_target(is_transformer=is_transformer) for is_transformer in (True, False)]
    key = {"timm": version("timm"), "name": name, "input_px": input_px, "patterns": patterns}
    file = None if folder is None else folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"
    kept = None if file is None else _read_kept(file, key)
    if kept is not None:
        return kept
    from anomalyvfm_opt.model.measurement import measure_outline

    found = measure_outline(name, input_px)
    if found is not None and file is not None:
        with suppress(OSError):  # a host that keeps nothing measures again
            file.parent.mkdir(exist_ok=True)
            write_whole(file, json.dumps({"key": key, "outline": found.to_json()}).encode())
    return found


def _read_kept(file: Path, key: Mapping[str, Any]) -> Outline | None:
    """Return what a file keeps; None if it is not there, broken or of another model."""
    try:
        found = json.loads(read_plain(file, _MOST_BYTES))
        return Outline.from_json(found["outline"]) if found["key"] == key else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


@cache
def _read_shipped() -> dict[str, Outline]:
    """Return the outlines that come with the package, by all names of their models."""
    outlines = {}
    for entry in json.loads(_SHIPPED.read_text(encoding="utf-8")):
        outline = Outline.from_json(entry["outline"])
        outlines.update(dict.fromkeys(entry["names"], outline))
    return outlines
