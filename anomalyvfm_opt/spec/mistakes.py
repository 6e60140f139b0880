"""What pydantic finds wrong in a spec, in words for people and at the fields' own paths."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from anomalyvfm_opt.spec.contradictions import CONTRADICTION, FieldPath, Problem
from anomalyvfm_opt.spec.model import NO_NUL, Spec
from anomalyvfm_opt.spec.shown import shorten, show_value
from anomalyvfm_opt.words import ask_if_meant

_MOST = 200  # mistakes that are put into words
_SHORT = 40  # characters of a value that is written out once more
_KEY = 100  # characters of a word that is compared with the known ones

# What a value should be, by the type of pydantic's error; filled in with the error's context.
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_too_long": "text of at most {max_length} characters",
    "tuple_type": "a list",
    "too_short": "a list with at least one entry",
    "literal_error": "{expected}",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
}
_EXPECTED_TEXT = {
    "name": "letters, digits, _ . or -, and begin with a letter or digit",
    "data.categories": "the name of a folder",
}


@dataclass(frozen=True)
class _Mistake:
    """All that is said about one value: the members of a union each have their say."""

    path: FieldPath
    value: Any
    expected: list[str] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)


def describe_mistakes(error: ValidationError) -> list[Problem]:
    """Say what is wrong in a spec's structure: unknown keys, missing, unsuitable values; no contradictions."""
    problems: list[Problem] = []
    unsuitable: dict[FieldPath, _Mistake] = {}
    for details in islice(error.errors(include_url=False), _MOST):
        path = _strip_tags(details)
        if details["type"] == "extra_forbidden":
            problems.append(Problem(path, f"unknown key; {_suggest_key(path)}"))
        elif details["type"] == "invalid_key":
            problems.append(Problem(path, "unknown key; keys are words"))
        elif details["type"] == "missing":
            problems.append(Problem(path, "is required, and not there"))
        elif details["type"] == "value_error":
            problems.append(Problem(path, shorten(details["msg"].removeprefix("Value error, "))))
        elif details["type"] != CONTRADICTION:
            mistake = unsuitable.setdefault(path, _Mistake(path, details["input"]))
            mistake.expected.append(_say_expected(path, details))
            if details["type"] == "literal_error":
                mistake.choices.extend(re.findall(r"'([^']+)'", details["ctx"]["expected"]))
    inner = {path[:length] for path, _ in problems for length in range(len(path))}
    inner |= {path[:length] for path in unsuitable for length in range(len(path))}
    # where a member of a union took the value and found a fault inside, the others' refusal says nothing
    return [*problems, *(_say(mistake) for mistake in unsuitable.values() if mistake.path not in inner)]


def _say(mistake: _Mistake) -> Problem:
    message = f"should be {' or '.join(dict.fromkeys(mistake.expected))}, not {show_value(mistake.value)}"
    if isinstance(mistake.value, str) and mistake.choices:
        question = ask_if_meant(mistake.value[:_KEY].lower(), mistake.choices)
        message += f"; {question}" if question else ""
    return Problem(mistake.path, message + _say_how_to_fix_it(mistake))


def _say_how_to_fix_it(mistake: _Mistake) -> str:
    """Return how a parameter is written, of one value or of a range, if the value looks like one; else nothing."""
    values = mistake.value if isinstance(mistake.value, list) else [mistake.value]
    is_range = any(expected.startswith("a mapping with low") for expected in mistake.expected)
    allowed = int | float if is_range else int | float | str
    if (
        mistake.path[:-1] != ("search", "space")
        or not values
        or any(isinstance(value, bool) or not isinstance(value, allowed) for value in values)
        or any(len(f"{value}") > _SHORT for value in values)
    ):
        return ""
    if is_range:
        low, high = min(values), max(values)
        what = f"{show_value(low)} alone" if low == high else f"{show_value(low)} to {show_value(high)}"
        return f"; for {what}: {{low: {low}, high: {high}}}"
    one = values[0]
    return f"; for {show_value(one)} alone: [{one}]" if len(values) == 1 and "a list" in mistake.expected else ""


def _say_expected(path: FieldPath, details: Any) -> str:
    kind = details["type"]
    if kind in ("model_type", "model_attributes_type"):
        return f"a mapping with {', '.join(_known_keys(path))}"
    if kind == "string_pattern_mismatch":
        names = [part for part in path if isinstance(part, str)]
        if details["ctx"]["pattern"] == NO_NUL:
            return "text without NUL"
        return _EXPECTED_TEXT.get(".".join(names), f"text like {details['ctx']['pattern']}")
    if kind in _EXPECTED:
        limits = {name: _drop_zero(limit) for name, limit in details.get("ctx", {}).items()}
        return _EXPECTED[kind].format(**limits)
    return shorten(str(details["msg"]).removeprefix("Input should be "))


def _drop_zero(limit: Any) -> Any:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _strip_tags(details: Any) -> FieldPath:
    """Return the path of an error without the names of union members, which pydantic puts into it."""
    parts = details["loc"]
    last = len(parts) - 1 if details["type"] in ("extra_forbidden", "invalid_key") else len(parts)
    return tuple(
        part for i, part in enumerate(parts) if isinstance(part, int) or i == last or part in _all_names()
    )


def _suggest_key(path: FieldPath) -> str:
    """Return what an unknown key might have been meant for."""
    key, known = str(path[-1])[:_KEY], _known_keys(path[:-1])
    if question := ask_if_meant(key.lower(), known):
        return question
    elsewhere = [".".join(names) for names in _walk_fields(Spec) if names[-1] == key]
    if 1 <= len(elsewhere) <= 2:
        return f"did you mean {' or '.join(map(repr, elsewhere))}?"
    return f"known here: {', '.join(known)}"


def _known_keys(path: FieldPath) -> Sequence[str]:
    model: type[BaseModel] | None = Spec
    for part in path:
        found = model.model_fields.get(str(part)) if model else None
        model = _find_model(found.annotation) if found else None
    return list(model.model_fields) if model else []


def _find_model(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field holds, be it one of several things that it may hold."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _walk_fields(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, found in model.model_fields.items():
        yield (name,)
        inner = _find_model(found.annotation)
        for names in _walk_fields(inner) if inner else ():
            yield (name, *names)


@cache
def _all_names() -> frozenset[str]:
    return frozenset(names[-1] for names in _walk_fields(Spec))
