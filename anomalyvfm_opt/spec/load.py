"""Read a spec file; every mistake is reported at once as `file:line:col: path: message`."""

import difflib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from anomalyvfm_opt.errors import SpecError
from anomalyvfm_opt.spec.model import Spec

Location = tuple[int | str, ...]


def load_spec(path: Path) -> Spec:
    """Read and check one spec.

    Raises:
        SpecError: no such file, not YAML, an unknown or repeated key, or values that contradict each other;
            its message has one line for each mistake.
    """
    document = _parse(path)
    try:
        return Spec.model_validate(document)
    except ValidationError as error:
        lines = [_describe(path, document, problem) for problem in error.errors(include_url=False)]
        raise SpecError("\n".join(dict.fromkeys(lines))) from None


def _parse(path: Path) -> Any:
    """The YAML document with its line numbers. YAML 1.2, so that `1e-4` is a number and `no` is a word."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such spec file", "shipped specs are in studies/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read: {error}") from None
    try:
        document = YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as error:
        mark, what = error.problem_mark, str(error.problem).replace("found ", "").split(" with value")[0]
        raise SpecError(f"{path}:{mark.line + 1}:{mark.column + 1}: {what}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpecError(f"{path}:{mark.line + 1}:{mark.column + 1}: not YAML: {error.problem}") from None
    except (
        YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # a tag or a date that cannot be read, too deep a nest
        raise SpecError(f"{path}: not YAML that a spec can be made of: {error}") from None
    if not isinstance(document, dict):
        raise SpecError(f"{path}:1:1: a spec is a mapping of keys to values, not {type(document).__name__}")
    return document


def _describe(path: Path, document: Any, problem: Any) -> str:
    location: Location = problem["loc"]
    line, column, known = _locate(document, location)
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "unknown key" + _suggest(str(location[-1]), location[:-1])
    elif problem["type"] not in ("missing", "value_error"):
        message = f"{message}, not {problem['input']!r}"
    return f"{path}:{line}:{column}: {'.'.join(known) or 'spec'}: {message}"


def _locate(document: Any, location: Location) -> tuple[int, int, list[str]]:
    """Line and column (from 1) of the deepest part of `location` that stands in the file, and the path to it.

    Pydantic adds the names of union members to a location; those are not keys of the file and are left out.
    """
    node: Any = document
    line, column = 1, 1
    known: list[str] = []
    for position, part in enumerate(location):
        if isinstance(node, CommentedMap) and part in node:
            line, column = _count_from_one(node.lc.key(part))
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line, column = _count_from_one(node.lc.item(part))
        else:
            if isinstance(node, CommentedMap) and position == len(location) - 1:
                known.append(str(part))  # a required key that is missing
            break
        known.append(str(part))
        node = node[part]
    return line, column, known


def _count_from_one(mark: tuple[int, int]) -> tuple[int, int]:
    return mark[0] + 1, mark[1] + 1


def _suggest(key: str, parents: Location) -> str:
    model: Any = Spec
    for part in parents:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        model = field.annotation if field else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return ""
    close = difflib.get_close_matches(key, model.model_fields, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(model.model_fields)}"
