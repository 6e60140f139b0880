"""What a row of each table has to be: from the table's declaration, and from `extra_checks`.

A row has no column that is not declared, and all that may not be NULL; a NULL is left out. It names its trial by
number. What the database fills in where it is missing may be missing in a whole line, as in a file from before the
column was there.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import CheckConstraint, Table, UniqueConstraint

from anomalyvfm_opt.spec.shown import show_value
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.transfer import extra_checks
from anomalyvfm_opt.store.transfer.rows import IDS, TABLES, list_numbered
from anomalyvfm_opt.store.transfer.values import Check, check_one_of, check_whole, make_check

# Optuna declares nearly all of its columns so that they may be NULL, and leaves these alone so.
_NULL_AT_OPTUNA = {"datetime_start", "datetime_complete", "value", "intermediate_value"}
_NOTES = "study_system_attributes"  # some of which are on a trial
_NUMBER = partial(check_whole, 0, 2**31 - 1)
_ONE_OF = re.compile(r"(\w+) IN (\(.*\))")


@dataclass(frozen=True)
class RowSchema:
    """The rows of one table.

    Args:
        table: its full name.
        checks: column -> what its values have to be; `trial` stands for the trial's id.
        required: columns that each row has.
        defaulted: columns that all rows of a line have, or none.
        key: columns that no two rows of a study have in common.
    """

    table: str
    checks: Mapping[str, tuple[Check, ...]]
    required: frozenset[str]
    defaulted: frozenset[str]
    key: tuple[str, ...]

    def find_problems(self, rows: Sequence[Any]) -> Iterator[str]:
        """Return what is wrong with the rows of a line by themselves, whatever other lines say."""
        for position, row in enumerate(rows, 1):
            for problem in self._find_in(row):
                yield f"row {position}{problem}"
                return
            if different := self.defaulted & (row.keys() ^ rows[0].keys()):
                yield f"row {position}, column {min(different)}: should be in all rows of a line, or in none"

    def _find_in(self, row: Any) -> Iterator[str]:
        if not isinstance(row, dict):
            yield f": should be a mapping, not {show_value(row)}"
            return
        for name, value in row.items():
            if name not in self.checks:
                yield f", column {show_value(name)}: is none of {', '.join(self.checks)}"
                return
            try:
                for check in self.checks[name]:
                    check(value)
            except ValueError as error:
                yield f", column {name}: {error}, not {show_value(value)}"
        if missing := self.required - row.keys():
            yield f", column {min(missing)}: is missing"
        elif check_row := extra_checks.ROWS.get(self.table):
            try:
                check_row(row)
            except ValueError as error:
                yield f": {error}: {show_value(row, 100)}"


def _declare(table: Table) -> RowSchema:
    extra = extra_checks.COLUMNS.get(table.fullname, {})
    left = {*IDS, *list_numbered(table)}
    columns = [column for column in table.columns if column.name not in left]
    listed = dict(_list_choices(table))
    checks: dict[str, tuple[Check, ...]] = {}
    for column in columns:
        mine = [make_check(column), listed.get(column.name), extra.get(column.name)]
        if column.name == "sha256" or column.name.endswith("_sha256"):
            mine.append(extra_checks.check_sha256)
        checks[column.name] = tuple(check for check in mine if check is not None)
    needed = [c for c in columns if not c.nullable or (table.schema is None and c.name not in _NULL_AT_OPTUNA)]
    required = {column.name for column in needed if column.server_default is None}
    if table.fullname == _NOTES or (table.fullname != "trials" and "trial_id" in table.c):
        checks["trial"] = (_NUMBER,)
        required |= {"trial"} if "trial_id" in table.c else set()
    return RowSchema(
        table=table.fullname,
        checks=checks,
        required=frozenset(required),
        defaulted=frozenset(column.name for column in needed if column.server_default is not None),
        key=_find_key(table),
    )


def _list_choices(table: Table) -> Iterator[tuple[str, Check]]:
    """Return the columns whose values a constraint of the table lists."""
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint) and (found := _ONE_OF.fullmatch(str(constraint.sqltext))):
            yield found[1], partial(check_one_of, ast.literal_eval(found[2]))


def _find_key(table: Table) -> tuple[str, ...]:
    """Return the columns that a constraint holds unique, without the study's id; a trial by its number."""
    if table.fullname == "trials":
        return ("number",)  # Optuna declares no constraint, and holds it
    unique = [constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    names = [column.name for column in (unique[0].columns if unique else table.primary_key.columns)]
    own = ["trial"] if table.fullname == _NOTES else []  # whose keys name a trial by number
    return (*("trial" if name == "trial_id" else name for name in names if name != "study_id"), *own)


SCHEMAS: Mapping[str, RowSchema] = {
    table.fullname: _declare(table) for table in (*TABLES, tables.look, tables.look_image)
}
