"""What the declaration of a table does not say of its rows: by table and column, and by table of the whole row.

Each check raises ValueError with what the value should be.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

from optuna.study import StudyDirection
from optuna.trial import TrialState

from anomalyvfm_opt.spec.model import DataSection
from anomalyvfm_opt.spec.shown import show_value
from anomalyvfm_opt.store.transfer.attributes import (
    check_dashboard_attribute,
    check_system_attribute,
    check_user_attribute,
)
from anomalyvfm_opt.store.transfer.rows import KEY_WITH_ID, KEY_WITHOUT_ID, Row
from anomalyvfm_opt.store.transfer.values import Check, check_number, check_one_of, check_whole, parse_json_text

_LARGEST = 2**31 - 1
_COUNT, _FROM_1 = (partial(check_whole, least, _LARGEST) for least in (0, 1))
_MOST_ROUNDS = 10**6  # the next round has a number as well
_ROUND, _ANY_ROUND = (partial(check_whole, least, _MOST_ROUNDS) for least in (1, 0))
_SHARE = partial(check_number, least=-1e-6, most=1 + 1e-6)
_GAIN = partial(check_number, least=-10, most=10)  # of AUROC; what a regression expects may lie beyond 1
_SCORE = partial(check_number, least=-1e300, most=1e300)  # so that two have a difference
_SHARES = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "au_pro_005", "au_pro_030")


def check_sha256(value: Any) -> None:
    """Refuse what is no hash: some are names of files."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("should be a SHA-256, 64 digits and letters a-f")


def _check_path(value: Any) -> None:
    if not isinstance(value, str) or {"", ".", ".."} & set(value.split("/")):
        raise ValueError("should be a path like brick/train/good/000.png")


def _check_word(value: Any) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", value):
        raise ValueError("should be a word of at most 100 letters, digits, _ . or -")


def _check_mapping(value: Any) -> None:
    if not isinstance(value, dict):
        raise ValueError("should be a mapping")


def _check_draws(value: Any) -> None:
    if not isinstance(value, list) or not value:
        raise ValueError("should be a list of numbers, at least one")
    for number in value:
        check_number(number)


COLUMNS: Mapping[str, Mapping[str, Check]] = {
    "study_directions": {
        "direction": partial(check_one_of, (StudyDirection.MAXIMIZE.name,)),
        "objective": partial(check_one_of, (0,)),
    },
    "study_user_attributes": {"value_json": parse_json_text},
    "study_system_attributes": {"value_json": parse_json_text},
    "trials": {
        "number": _COUNT,
        "state": partial(check_one_of, tuple(s.name for s in TrialState if s is not TrialState.RUNNING)),
    },
    "trial_values": {"objective": partial(check_one_of, (0,))},
    "trial_intermediate_values": {"step": _COUNT},
    "anomalyvfm_opt.study_image": {"image_key": _check_path, "label": partial(check_one_of, ("good", "bad"))},
    "anomalyvfm_opt.trial_outcome": {"outcome": _check_word},
    "anomalyvfm_opt.trial_metric": {"scorer": _check_word, **dict.fromkeys(_SHARES, _SHARE)},
    "anomalyvfm_opt.image_score": {"scorer": _check_word, "image_key": _check_path, "score": _SCORE},
    "anomalyvfm_opt.artifact": {"kind": _check_word, "size_bytes": partial(check_whole, 0, 2**63 - 1)},
    "anomalyvfm_opt.trial_resample": {"metric": _check_word, "draws": _check_draws},
    "anomalyvfm_opt.study": {
        "spec": _check_mapping,
        "lock": partial(check_one_of, get_args(DataSection.model_fields["lock"].annotation)),
        "budget": _COUNT,
        "judged": _FROM_1,
        "method": _FROM_1,
    },
    "anomalyvfm_opt.confirmation": {"plan": _check_mapping, "round": _ROUND},
    "anomalyvfm_opt.prediction": {"round": _ANY_ROUND, "gain": _GAIN},
    "anomalyvfm_opt.look": {"round": _ANY_ROUND, "trial_number": _COUNT},
}


def _check_finite(number: str, row: Row) -> None:
    """Compare a value with its kind: Optuna stores a number where that is FINITE, and the kind alone elsewhere."""
    if (row[f"{number}_type"] == "FINITE") is not (number in row):
        raise ValueError(f"should have a {number} where {number}_type is FINITE, and there only")


def _check_note(row: Row) -> None:
    """Refuse a key that names a trial by an id, which is another store's, and not by {} and the column trial."""
    is_of_trial = KEY_WITHOUT_ID.fullmatch(row["key"]) is not None
    if is_of_trial is not ("trial" in row) or KEY_WITH_ID.fullmatch(row["key"]):
        raise ValueError(
            f"should name a trial by {{}} in the key and its number, or none, not {show_value(row['key'])}"
        )
    check_dashboard_attribute(row["key"], row["value_json"])


def _check_ended(row: Row) -> None:
    if row["state"] != TrialState.WAITING.name and "datetime_complete" not in row:
        raise ValueError("should have a datetime_complete, as all trials that do not wait")


ROWS: Mapping[str, Callable[[Row], None]] = {
    "trials": _check_ended,
    "trial_user_attributes": lambda row: check_user_attribute(row["key"], row["value_json"]),
    "trial_system_attributes": lambda row: check_system_attribute(row["key"], row["value_json"]),
    "study_system_attributes": _check_note,
    "trial_values": partial(_check_finite, "value"),
    "trial_intermediate_values": partial(_check_finite, "intermediate_value"),
}
