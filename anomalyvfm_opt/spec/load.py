"""Read a spec file; every mistake is reported at once as `file:line:col: path: message`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from anomalyvfm_opt.errors import SpecError
from anomalyvfm_opt.spec.contradictions import FieldPath, Problem
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.validation import keep_sound_part, validate

FindProblems = Callable[[Spec], Iterable[Problem]]


def load_spec(path: Path, find_problems: FindProblems | None = None) -> Spec:
    """Read and check one spec.

    Args:
        path: of the file.
        find_problems: a further check, such as `model.limits.find_limits_problems`; what it finds is reported
            with the rest. It looks at `data`, `backbone` and `search.space` alone: the rest may be a stand-in.

    Raises:
        SpecError: no such file, not YAML, an unknown or repeated key, or values that contradict each other;
            its message has one line for each mistake.
    """
    document = _parse(path)
    spec, problems = validate(document)
    sound = spec or keep_sound_part(document)
    if find_problems is not None and sound is not None:
        problems += find_problems(sound)
    if spec is None or problems:
        places = sorted((*_locate(document, problem.path), str(problem)) for problem in problems)
        lines = [f"{path}:{line}:{column}: {text}" for line, column, text in places]
        raise SpecError("\n".join(dict.fromkeys(lines)))
    return spec


def _parse(path: Path) -> Any:
    """Return the YAML document with its line numbers. YAML 1.2, so that `1e-4` is a number and `no` is a word."""
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
        kind = "is empty" if document is None else f"is a {'list' if isinstance(document, list) else 'value'}"
        raise SpecError(f"{path}:1:1: a spec is a mapping of keys to values, and this {kind}")
    return document


def _locate(document: Any, path: FieldPath) -> tuple[int, int]:
    """Line and column (from 1) of the deepest part of a path that stands in the file."""
    node: Any = document
    place = (0, 0)
    for part in path:
        if isinstance(node, CommentedMap) and part in node:
            if part in (node.lc.data or {}):  # not so where it comes from a merged anchor
                place = node.lc.key(part)
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            place = node.lc.item(part)
        else:
            break
        node = node[part]
    return place[0] + 1, place[1] + 1
