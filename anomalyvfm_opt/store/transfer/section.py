"""The rows of one study in a file: in the order of the tables, each once, of trials that are there.

What is kept of them is small: some bytes for each trial, and the keys of one trial's rows in one table.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from optuna.trial import TrialState
from pydantic import ValidationError

from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.shown import show_value
from anomalyvfm_opt.spec.study_name import StudyName
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.transfer.distributions import ParameterCheck
from anomalyvfm_opt.store.transfer.rounds import Rounds
from anomalyvfm_opt.store.transfer.row_schema import SCHEMAS, RowSchema
from anomalyvfm_opt.store.transfer.rows import TABLES, Row

_PLACES = {table.fullname: place for place, table in enumerate(TABLES)}
_MOST_TRIALS = 200_000
_MOST_KEYS = 300_000  # rows of one trial in one table, or of a study: 60,000 images with 5 scorers
_SHARED = ("spec", "lock", "split_sha256", "weights_sha256", "method")  # by a study and its siblings
_COMPLETE = TrialState.COMPLETE.name


class UnreadableSpecError(ValueError):
    """A spec that this program has no words for: another version wrote it."""


class Section:
    """Checks the rows of one study as they come.

    Args:
        name: of the study.
    """

    def __init__(self, name: StudyName) -> None:
        self.name = name
        self.locked: list[str] = []  # hashes of the images that are locked, each as often as it is there
        self.waiting = 0
        self._shared = {tables.study.fullname: hashlib.sha256(), tables.study_image.fullname: hashlib.sha256()}
        self._seen: set[str] = set()
        self._last = ""  # table
        self._numbers: set[int] = set()
        self._lacking: set[int] = set()  # complete trials that have no value yet
        self._of_trial: int | None = None
        self._done: set[int] = set()  # trials whose rows of this table have come
        self._keys: set[tuple[Any, ...]] = set()
        self._parameters = ParameterCheck()
        self._rounds = Rounds() if name.kind == "confirm" else None

    @property
    def trials(self) -> int:
        """How many there are."""
        return len(self._numbers)

    def find_difference(self, family: "Section") -> str:
        """Return a table that says something else than in the study that this one stands beside; else nothing.

        A sibling has the images, the spec and the weights of its study: its trials are held against that one's.
        """
        for table, digest in self._shared.items():
            if table in self._seen and digest.digest() != family._shared[table].digest():
                return table
        return ""

    def take(self, table: str, rows: Sequence[Any]) -> None:
        """Check some rows of a table.

        Raises:
            ValueError: what is wrong, with row and column.
        """
        schema = SCHEMAS[table]
        if table != self._last:
            self._begin(table)
        for problem in schema.find_problems(rows):
            raise ValueError(problem)
        for position, row in enumerate(rows, 1):
            try:
                self._follow(schema, row)
                self._note(table, row)
                self._note_round(table, row)
                self._note_shared(table, row)
            except UnreadableSpecError:
                raise
            except ValueError as error:
                raise ValueError(f"row {position}{error}") from None

    def finish(self) -> None:
        """Check what can be said at the end only.

        Raises:
            ValueError: what is missing.
        """
        needed = {"study_directions", tables.study.fullname}
        is_begun = self.trials > 0 or self.name.kind == "search"  # a sibling's first moment is interruptible
        if is_begun and (missing := needed - self._seen):
            raise ValueError(f"study {show_value(str(self.name))} has no row of the table {min(missing)}")
        self._check_numbers()
        if self._lacking:
            raise ValueError(f"trial {min(self._lacking)} of {self.name} is complete and has no value")

    def _begin(self, table: str) -> None:
        if table in self._seen or _PLACES[table] < _PLACES.get(self._last, 0):
            raise ValueError(f"should not come here: after {self._last} come other tables")
        if self._last == "trials":
            self._check_numbers()
        self._seen.add(table)
        self._last, self._of_trial = table, None
        self._keys.clear()
        self._done.clear()

    def _check_numbers(self) -> None:
        if self._numbers and max(self._numbers) + 1 != len(self._numbers):
            missing = min(set(range(len(self._numbers))) - self._numbers)
            raise ValueError(f"study {show_value(str(self.name))} has no trial {missing}, and later ones")

    def _follow(self, schema: RowSchema, row: Row) -> None:
        """Check whether the row is the first of its key, and of a trial that is there."""
        if (trial := row.get("trial")) is not None:
            if trial not in self._numbers:
                raise ValueError(f", column trial: is of a trial that is not there, {trial}")
            if "trial" in schema.required and trial != self._of_trial:
                if trial in self._done:
                    raise ValueError(f", column trial: should stand with the other rows of trial {trial}")
                self._done.add(trial)
                self._of_trial = trial
                self._keys.clear()
        key = tuple(row.get(name) for name in schema.key)
        if key in self._keys:
            raise ValueError(
                f": is there twice, with {', '.join(schema.key) or 'one row a study'} {show_value(key)}"
            )
        self._keys.add(key)
        if len(self._keys) > _MOST_KEYS:
            raise ValueError(f": is one of more than {_MOST_KEYS:,}")

    def _note(self, table: str, row: Row) -> None:
        """Check what a row says about others, and keep what others will be checked by."""
        if table == "trials":
            self._numbers.add(row["number"])
            self.waiting += row["state"] == TrialState.WAITING.name
            if row["state"] == _COMPLETE:
                self._lacking.add(row["number"])
            if self.trials > _MOST_TRIALS:
                raise ValueError(f": is one of more than {_MOST_TRIALS:,} trials")
        elif table == "trial_values":
            self._lacking.discard(row["trial"])
        elif table == "trial_params":
            try:
                self._parameters.check(row["param_name"], row["param_value"], row["distribution_json"])
            except ValueError as error:
                shown = f"{show_value(row['param_value'])} of {show_value(row['distribution_json'], 200)}"
                raise ValueError(f", column param_value: {error}, not {shown}") from None
        elif table == tables.study_image.fullname and row["role"] == "locked":
            self.locked.append(row["sha256"])
        elif table == tables.study.fullname:
            self._check_spec(row)

    def _note_round(self, table: str, row: Row) -> None:
        if self._rounds is not None:
            self._rounds.take(table, row)
        elif table == tables.confirmation.fullname:
            raise ValueError(f": should be of {self.name.sibling('confirm')}, which alone has rounds")

    def _note_shared(self, table: str, row: Row) -> None:
        if table in self._shared:
            kept = row if table == tables.study_image.fullname else {name: row.get(name) for name in _SHARED}
            self._shared[table].update(json.dumps(kept, sort_keys=True).encode())

    def _check_spec(self, row: Row) -> None:
        try:
            spec = Spec.model_validate(row["spec"])
        except ValidationError as error:
            first = error.errors()[0]
            place = show_value(".".join(map(str, first["loc"]))).strip("'")
            raise UnreadableSpecError(f"{first['msg']} at {place}") from None
        if (spec.name, row["category"]) != (self.name.spec, self.name.category):
            found = f"{show_value(spec.name)} and {show_value(row['category'])}"
            raise ValueError(f", column spec: name and category should be those of {self.name}, not {found}")
