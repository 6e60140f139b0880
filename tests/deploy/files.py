"""docker-compose.yml and the Dockerfile, read as Compose and Docker read them where no setting is made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
OUR_IMAGE = "anomalyvfm-opt"

_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
_ENVIRONMENT = re.compile(r"(\w+)=(\S+)")


def read_compose(**settings: str) -> dict[str, Any]:
    """The file with its merge keys resolved and its variables replaced."""
    content = YAML(typ="safe", pure=True).load(COMPOSE_FILE.read_text(encoding="utf-8"))
    replaced: dict[str, Any] = _interpolate(content, settings)
    return replaced


def _interpolate(value: Any, settings: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolate(each, settings) for key, each in value.items()}
    if isinstance(value, list):
        return [_interpolate(each, settings) for each in value]
    if not isinstance(value, str):
        return value
    replaced = _VARIABLE.sub(lambda match: settings.get(match[1], match[2]), value)
    assert "$" not in replaced, f"a variable without a default, or a stray $: {value}"
    return replaced


@dataclass(frozen=True)
class Instruction:
    """One of the Dockerfile's, its continued lines joined."""

    name: str
    text: str


def read_dockerfile() -> list[Instruction]:
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    parts = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [Instruction(name, text.strip()) for name, _, text in parts]


def read_last_stage() -> list[Instruction]:
    instructions = read_dockerfile()
    start = max(index for index, each in enumerate(instructions) if each.name == "FROM")
    return instructions[start:]


def read_image_environment() -> dict[str, str]:
    """What ENV sets in the image."""
    texts = [each.text for each in read_last_stage() if each.name == "ENV"]
    return dict(pair for text in texts for pair in _ENVIRONMENT.findall(text))
