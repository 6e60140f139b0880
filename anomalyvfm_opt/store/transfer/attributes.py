"""What the attributes of trials and studies have to be, so that whoever reads them later can."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from anomalyvfm_opt.evaluation.linter.findings import Finding
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.shown import show_value
from anomalyvfm_opt.store.planned import ANY_SIZE_PX, Planned
from anomalyvfm_opt.store.transfer.values import check_number, parse_json_text, walk
from anomalyvfm_opt.store.trial_record import NAMES, TrialRecord

_NOTE_VERSION = re.compile(r"dashboard:(\{\}:)?note_ver")
_ARTIFACTS = ("artifacts:", "dashboard:artifacts:")  # Optuna's and the dashboard's own
_FIXED = "fixed_params"  # Optuna's name for the parameters of a trial that waits


def check_user_attribute(key: str, text: str) -> None:
    """Refuse a trial's user attribute that is no JSON, or that has one of our names and another type.

    Raises:
        ValueError: what it should be.
    """
    parsed = parse_json_text(text)
    if key not in NAMES:
        return
    try:
        _find_type(key).validate_json(text, strict=True)
        _check_numbers(key, parsed)
        if parsed is not None and key in _READERS:
            _READERS[key](parsed)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"should be what {key!r} holds: {first['msg'].removeprefix('Value error, ')}") from None
    except (LookupError, ValueError) as error:
        raise ValueError(f"should be what {key!r} holds: {error}") from None


def check_system_attribute(key: str, text: str) -> None:
    """Refuse a trial's system attribute that is no JSON, or parameters that Optuna could not hand out.

    Raises:
        ValueError: what it should be.
    """
    parsed = check_dashboard_attribute(key, text)
    if key != _FIXED:
        return
    if not isinstance(parsed, dict):
        raise ValueError(f"should be parameters by name in {_FIXED!r}")
    for name, value in parsed.items():
        if value is not None and not isinstance(value, str | int | float):
            raise ValueError(f"should be a number or a word at {show_value(name)} in {_FIXED!r}")


def check_dashboard_attribute(key: str, text: str) -> Any:
    """Refuse a system attribute that optuna-dashboard could not read, and would show no study for.

    Returns:
        What it says.

    Raises:
        ValueError: what it should be.
    """
    parsed = parse_json_text(text)
    if _NOTE_VERSION.fullmatch(key) and type(parsed) is not int:
        raise ValueError(f"should be a whole number at {show_value(key)}")
    if key.startswith(_ARTIFACTS) and not isinstance(parse_json_text(parsed), dict | None):
        raise ValueError(f"should be the JSON of a mapping at {show_value(key)}")
    return parsed


@cache
def _find_type(key: str) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(TrialRecord)[key])


def _check_numbers(key: str, parsed: Any) -> None:
    """Refuse numbers that are not finite, which nothing of ours is, and those out of their range."""
    least, most = _RANGES.get(key, (float("-inf"), float("inf")))
    for number in walk(parsed):
        if type(number) in (int, float):
            check_number(number, least, most)


def _read_findings(value: list[Mapping[str, str]]) -> None:
    for found in value:
        Finding.from_stored(found)


_SHARES, _SECONDS, _COUNTS = (-1e-6, 1 + 1e-6), (0, 1e10), (0, 2**63)
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("objectives", "synthetic_auroc", "search_auroc"), _SHARES),
    **dict.fromkeys(("texture", "structural", "contextual"), _SHARES),
    **dict.fromkeys(("seconds", "inference_s_per_image"), _SECONDS),
    **dict.fromkeys(("training_seed", "first_number", "retry_of", "times_lost", "threads"), _COUNTS),
    **dict.fromkeys(("micro_batch", "scoring_batch", "peak_memory_mib", "resumed_from_epoch"), _COUNTS),
}
_READERS: Mapping[str, Callable[[Any], object]] = {
    "planned": lambda value: Planned.from_json(value, ANY_SIZE_PX),
    "parameters": lambda value: Parameters.from_json(value, ANY_SIZE_PX),
    "findings": _read_findings,
}
