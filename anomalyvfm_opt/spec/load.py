"""Read a spec file; every mistake is reported at once as `file:line:col: path: message`."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from anomalyvfm_opt.errors import SpecError
from anomalyvfm_opt.files import read_plain
from anomalyvfm_opt.spec.contradictions import FieldPath, Problem
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.shipped import find_folder
from anomalyvfm_opt.spec.shown import shorten
from anomalyvfm_opt.spec.validation import keep_sound_part, validate
from anomalyvfm_opt.spec.yaml_limits import FILE_BYTES, TooLargeError, check_size

_MOST_LINES = 100
# What ruamel.yaml lets out of a tag or a date that cannot be read; which, it does not promise.
_UNREADABLE_VALUES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

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
        unique = list(dict.fromkeys(lines))
        more = [f"{path}: and more"] if len(unique) > _MOST_LINES else []
        raise SpecError("\n".join([*unique[:_MOST_LINES], *more]))
    return spec


def load_specs(
    files: Sequence[Path],
    find_problems: FindProblems | None = None,
    on_sound: Callable[[Path, Spec], None] = lambda *_: None,
) -> list[Spec]:
    """Read and check several specs.

    Args:
        files: a spec each.
        find_problems: as of `load_spec`.
        on_sound: told of each that has no mistake, at once.

    Raises:
        SpecError: the mistakes of all files together.
    """
    specs, mistakes = [], []
    for file in files:
        try:
            specs.append(load_spec(file, find_problems))
        except SpecError as error:
            mistakes.append(str(error))
        else:
            on_sound(file, specs[-1])
    if mistakes:
        raise SpecError("\n".join(mistakes))
    return specs


def _parse(path: Path) -> Any:
    """Return the YAML document with its line numbers. YAML 1.2, so that `1e-4` is a number and `no` is a word."""
    text = _read_text(path)
    try:
        check_size(text)
        document = YAML(typ="rt", pure=True).load(text)
    except TooLargeError as error:
        raise SpecError(f"{path}:{error.line}:{error.column}: {error.reason}") from None
    except DuplicateKeyError as error:
        mark, what = error.problem_mark, str(error.problem).replace("found ", "").split(" with value")[0]
        raise SpecError(f"{path}:{mark.line + 1}:{mark.column + 1}: {shorten(what)}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = shorten(str(error.problem))
        raise SpecError(f"{path}:{mark.line + 1}:{mark.column + 1}: not YAML: {problem}") from None
    except (YAMLError, *_UNREADABLE_VALUES) as error:
        raise SpecError(f"{path}: not YAML that a spec can be made of: {shorten(str(error))}") from None
    if not isinstance(document, dict):
        kind = "is empty" if document is None else f"is a {'list' if isinstance(document, list) else 'value'}"
        raise SpecError(f"{path}:1:1: a spec is a mapping of keys to values, and this {kind}")
    return document


def _suggest_file(path: Path) -> str:
    """Return which file beside it, or among the shipped ones, may have been meant, and where those are."""
    for folder in (path.parent, find_folder()):
        files = {file.stem: file for file in folder.glob("*.y*ml")}
        if close := get_close_matches(path.stem, files, n=1):
            return f"did you mean {files[close[0]]}?"
    return f"shipped specs are in {find_folder()}"


def _read_text(path: Path) -> str:
    try:
        return read_plain(path, FILE_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such spec file", _suggest_file(path)) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: cannot be read: {shorten(str(error))}") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from None


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
