"""The rows that a study consists of, Optuna's and ours, as they travel to another store.

Columns are those of the tables as they are declared, so that a new one travels by itself. Ids do not travel: a
row names its trial by number, and rows keep the order in which they were written. A column that is NULL is left
out, so that a file from before the column was there reads the same.
"""

import heapq
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import Enum
from math import isfinite
from typing import Any

from optuna.distributions import json_to_distribution
from optuna.trial import TrialState
from sqlalchemy import Connection, Select, String, Table, TextClause, and_, collate, false, or_, select, text

from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.optuna_private import list_tables
from anomalyvfm_opt.store.sealed import find_open
from anomalyvfm_opt.store.transfer.file import Content
from anomalyvfm_opt.store.trial_record import BEFORE_THE_RUN

Row = dict[str, Any]

CHUNK_ROWS = 500
_CHUNK_BYTES = 8 * 2**20
IDS = ("study_id", "trial_id")
_optuna = list_tables()
_trials: Table = _optuna["trials"]
_study_notes: Table = _optuna["study_system_attributes"]
_trial_notes: Table = _optuna["trial_system_attributes"]
_attributes: Table = _optuna["trial_user_attributes"]
_params: Table = _optuna["trial_params"]

# A row comes after those that it refers to. The study's own row in Optuna's `studies` is its name alone.
TABLES: tuple[Table, ...] = (
    _optuna["study_directions"],
    _optuna["study_user_attributes"],
    _trials,
    _study_notes,
    _attributes,
    _trial_notes,
    _params,
    _optuna["trial_values"],
    _optuna["trial_intermediate_values"],
    tables.study_image,
    tables.trial_outcome,
    tables.trial_metric,
    tables.image_score,
    tables.artifact,
    tables.trial_resample,
    tables.study,
    tables.confirmation,
    tables.prediction,
)
_BY_NAME = {table.fullname: table for table in TABLES}

# optuna-dashboard keeps notes of trials with the study, and the trial's id in their key.
KEY_WITH_ID = re.compile(r"(dashboard:(?:artifacts:)?)(\d+)(:.*)", re.DOTALL)
KEY_WITHOUT_ID = re.compile(r"dashboard:(?:artifacts:)?\{\}:.*", re.DOTALL)
_RESERVE = text("SELECT nextval(pg_get_serial_sequence('trials', 'trial_id')) FROM generate_series(1, :count)")


def read_study(connection: Connection, study_id: int) -> Iterator[Content]:
    """Return a study's rows in chunks `{"table": name, "rows": [...]}`.

    Args:
        connection: in one snapshot from first to last.
        study_id: in this store. A trial of it that runs, or whose value is sealed, travels as one that waits.
    """
    query = select(_trials.c.trial_id, _trials.c.number).where(_trials.c.study_id == study_id)
    numbers = {row.trial_id: row.number for row in connection.execute(query)}
    unended = find_open(connection, study_id)
    for table in TABLES:
        rows = _read_rows(connection, table, study_id, numbers, unended)
        if table is _trial_notes:
            fixed = _fix_parameters(connection, unended, numbers)
            ids = {number: trial_id for trial_id, number in numbers.items()}
            rows = heapq.merge(rows, fixed, key=lambda row: ids[row["trial"]])
        yield from form_chunks(table, rows)


def insert_study(connection: Connection, study_id: int, chunks: Iterable[Content]) -> None:
    """Insert the rows of `read_study` under a study's new id.

    The server takes JSON apart by the types of its columns: three times as fast as a parameter for each value.
    """
    ids: dict[int, int] = {}
    for chunk in chunks:
        table, rows = _BY_NAME[chunk["table"]], chunk["rows"]
        if table is _trials:
            reserved = connection.scalars(_RESERVE, {"count": len(rows)})
            ids.update(zip((row["number"] for row in rows), sorted(reserved), strict=True))
        placed = [_place(table, row, study_id, ids) for row in rows]
        connection.execute(insert_like(table, placed[0]), {"rows": json.dumps(placed, ensure_ascii=False)})


def form_chunks(table: Table, rows: Iterable[Row]) -> Iterator[Content]:
    """Return rows in chunks of 500, or fewer where they are large: the lines of a file have a limit."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        row_size = sum(map(_estimate_bytes, row.values()))
        if chunk and (len(chunk) == CHUNK_ROWS or size + row_size > _CHUNK_BYTES):
            yield {"table": table.fullname, "rows": chunk}
            chunk, size = [], 0
        chunk.append(row)
        size += row_size
    if chunk:
        yield {"table": table.fullname, "rows": chunk}


def encode_value(value: Any) -> Any:
    """Return a value of a column in JSON. A float is written with all of its digits."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value


def insert_like(table: Table, example: Row) -> TextClause:
    """Return the insert of rows like `example`; a column that it lacks takes its default or is NULL."""
    numbered = list_numbered(table)
    names = [c.name for c in table.columns if c.name not in numbered and (c.nullable or c.name in example)]
    columns = ", ".join(f'"{name}"' for name in names)
    return text(
        f"INSERT INTO {table.fullname} ({columns}) SELECT {columns}"  # noqa: S608 - names of our own declarations
        f" FROM json_populate_recordset(CAST(NULL AS {table.fullname}), CAST(:rows AS json))"
    )


def _estimate_bytes(value: Any) -> int:
    """Return about how long a value is in JSON; what can be long is at most this long."""
    if isinstance(value, str):
        return len(value) if value.isascii() else 12 * len(value)
    return 24 * len(value) if isinstance(value, list) else 8


def _read_rows(
    connection: Connection, table: Table, study_id: int, numbers: dict[int, int], unended: set[int]
) -> Iterator[Row]:
    result = connection.execute(
        _select(table, study_id, unended), execution_options={"stream_results": True, "yield_per": CHUNK_ROWS}
    )
    for found in result.mappings():
        row = {name: encode_value(value) for name, value in found.items() if value is not None and name not in IDS}
        if table is _trials and found["trial_id"] in unended:
            row["state"] = TrialState.WAITING.name
            row.pop("datetime_start", None)
            row.pop("datetime_complete", None)
        elif "trial_id" in found and table is not _trials:
            row["trial"] = numbers[found["trial_id"]]
        if table is not _study_notes or _name_trial(row, numbers):
            yield row


def _select(table: Table, study_id: int, unended: set[int]) -> Select[Any]:
    """Rows in the order in which they were written; where that is not known, in that of their keys."""
    left = ("study_id", *list_numbered(table))
    query = select(*(column for column in table.columns if column.name not in left))
    if "study_id" in table.c:
        query = query.where(table.c.study_id == study_id)
    else:
        mine = select(_trials.c.trial_id).where(_trials.c.study_id == study_id)
        at_rest = and_(table.c.trial_id.in_(mine), table.c.trial_id.not_in(unended))
        # the rest of a trial that travels as waiting is of its run: it leaves that behind, as one given back
        is_older = table.c.key.in_(BEFORE_THE_RUN) if table is _attributes else false()
        query = query.where(or_(at_rest, and_(table.c.trial_id.in_(mine), is_older)))
    trial_id = [table.c.trial_id] if "trial_id" in table.c else []
    keys = [column for column in table.primary_key if column.name not in IDS]
    in_any_language = [collate(key, "C") if isinstance(key.type, String) else key for key in keys]
    return query.order_by(*trial_id, *in_any_language)


def list_numbered(table: Table) -> list[str]:
    """Return the column, if any, in which Optuna numbers the rows of a table: each store does so for itself."""
    keys = [] if table.schema else table.primary_key.columns.keys()
    return [name for name in keys if name not in IDS]


def _name_trial(row: Row, numbers: dict[int, int]) -> bool:
    """Take a trial's id out of a key; False if there is no such trial, so that nobody can see the note."""
    found = KEY_WITH_ID.fullmatch(row["key"])
    if found is None:
        return True
    row.update(key=f"{found[1]}{{}}{found[3]}", trial=numbers.get(int(found[2])))
    return row["trial"] is not None


def _fix_parameters(connection: Connection, unended: set[int], numbers: dict[int, int]) -> list[Row]:
    """Give each trial that travels as waiting what makes its next run the same: its parameters, as if enqueued.

    They are what was enqueued and what was suggested since; a trial that was asked for just now has only a part.
    """
    fixed: dict[int, dict[str, Any]] = {trial_id: {} for trial_id in sorted(unended)}
    notes = select(_trial_notes).where(_trial_notes.c.trial_id.in_(fixed), _trial_notes.c.key == "fixed_params")
    for note in connection.execute(notes):
        fixed[note.trial_id].update(json.loads(note.value_json))
    params = select(_params).where(_params.c.trial_id.in_(fixed)).order_by(_params.c.param_id)
    for param in connection.execute(params):
        distribution = json_to_distribution(param.distribution_json)
        fixed[param.trial_id][param.param_name] = distribution.to_external_repr(param.param_value)
    return [
        {"trial": numbers[trial_id], "key": "fixed_params", "value_json": json.dumps(values)}
        for trial_id, values in fixed.items()
    ]


def _place(table: Table, row: Row, study_id: int, ids: dict[int, int]) -> Row:
    """Return a row with this store's ids."""
    if table is _trials:
        return {**row, "study_id": study_id, "trial_id": ids[row["number"]]}
    if "trial" not in row:
        return {**row, "study_id": study_id}
    trial_id = ids[row["trial"]]
    if table is _study_notes:
        return {**row, "study_id": study_id, "key": row["key"].replace("{}", str(trial_id), 1)}
    return {**row, "trial_id": trial_id}
