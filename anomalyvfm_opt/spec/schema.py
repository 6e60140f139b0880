"""The JSON schema of a spec, with which an editor completes keys, shows what they are for and marks mistakes."""

import json
from typing import Any

from anomalyvfm_opt.spec.model import Spec

_DIALECT = "http://json-schema.org/draft-07/schema#"  # the one that YAML editors know best


def render_schema() -> str:
    """Return the schema as the text of a JSON file.

    It knows structure, ranges and choices; what contradicts itself across fields only `spec check` sees.
    """
    schema = Spec.model_json_schema()
    _tidy(schema)
    return json.dumps({"$schema": _DIALECT, "title": "anomalyvfm-opt spec", **schema}, indent=2) + "\n"


def _tidy(node: Any) -> None:
    """Take out what only repeats a field's name or its section's defaults."""
    if isinstance(node, list):
        for item in node:
            _tidy(item)
    elif isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        default = node.get("default")
        if isinstance(default, dict) and "low" not in default:  # a section's; a range's is its own
            del node["default"]
        for item in node.values():
            _tidy(item)
