"""The JSON schema that editors read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from anomalyvfm_opt.spec.schema import render_schema

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads(render_schema())
SOUND = {"name": "x", "data": {"image_size_px": 64, "lock": "half"}, "search": {"trials": 5}}


def list_mistakes(document: Any) -> list[str]:
    validator = pytest.importorskip("jsonschema").Draft7Validator(SCHEMA)
    return [error.message for error in validator.iter_errors(document)]


def walk_properties(node: Any) -> Iterator[tuple[str, Any]]:
    for section, properties in [("", node), *node["$defs"].items()]:
        for name, content in properties["properties"].items():
            yield f"{section}.{name}", content


def test_the_file_is_what_the_program_would_write() -> None:
    file = ROOT / "schema" / "study.json"
    assert file.read_text(encoding="utf-8") == render_schema(), "stale: run anomalyvfm-opt spec schema"


def test_it_has_a_title_and_no_address() -> None:
    assert SCHEMA["title"] == "anomalyvfm-opt spec"
    assert "$id" not in SCHEMA


def test_it_is_a_schema() -> None:
    pytest.importorskip("jsonschema").Draft7Validator.check_schema(SCHEMA)


def test_every_field_says_what_it_is_for() -> None:
    silent = [path for path, content in walk_properties(SCHEMA) if not content.get("description")]
    assert silent == []


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_specs_are_valid(path: Path) -> None:
    assert list_mistakes(YAML(typ="safe", pure=True).load(path)) == []


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("search", {"trials": 5, "samplr": "tpe"}),
        ("search", {"trials": 5, "sampler": "tpr"}),
        ("search", {"trials": 5, "space": {"rank": [0]}}),
        ("search", {"trials": 5, "space": {"synthesis_intensity": [0.7]}}),
        ("search", {"trials": 5, "space": {"synthesis_mix": {"texture": 1}}}),
        ("data", {"image_size_px": 64}),
        ("data", {"image_size_px": 64, "lock": "half", "tiles": {"size_px": "large"}}),
        ("training", {"batch_size": 5}),
    ],
)  # fmt: skip
def test_it_marks_mistakes(section: str, change: dict[str, Any]) -> None:
    assert list_mistakes(SOUND) == []
    assert len(list_mistakes({**SOUND, section: change})) == 1
