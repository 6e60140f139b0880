"""What an imported file says, checked before the first row is written.

A file may say something of one study, its two siblings and the looks of its confirmation, and of nothing else in
the store that it comes into.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.spec.shown import show_value
from anomalyvfm_opt.spec.study_name import StudyName
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.transfer.file import Header, StudyFile
from anomalyvfm_opt.store.transfer.reading import read_chunks
from anomalyvfm_opt.store.transfer.row_schema import SCHEMAS
from anomalyvfm_opt.store.transfer.rows import CHUNK_ROWS
from anomalyvfm_opt.store.transfer.section import Section, UnreadableSpecError

_STUDIES = tables.optuna_studies.fullname
_LOOK, _LOOK_IMAGE = tables.look.fullname, tables.look_image.fullname
_MOST_LOCKS = 10_000


def check_content(file: StudyFile) -> None:
    """Read a whole file once more, and refuse it for the first thing that no export of a study says.

    Raises:
        UsageError: with line, row, table, column and value.
    """
    check = _Content(file.header)
    number, table = 1, ""
    try:
        for line, chunk in read_chunks(file):
            number, table = line, ""
            table = _name_table(chunk)
            check.take(table, chunk["rows"])
        table = ""
        check.finish()
    except UnreadableSpecError as error:
        raise UsageError(
            f"{file.path} has a spec of another version of this program, which this one cannot read: {error}",
            f"use anomalyvfm-opt {file.header.program}",
        ) from None
    except ValueError as error:
        where = f"table {table}: " if table else ""
        raise UsageError(
            f"{file.path}:{number}: {where}{error}", "nothing was imported; export the study again"
        ) from None


def _name_table(chunk: Mapping[str, Any]) -> str:
    """Raises ValueError if it is no chunk of rows of a table that travels."""
    if chunk.keys() != {"table", "rows"}:
        raise ValueError(f"a line has table and rows, not {show_value(sorted(chunk))}")
    table, rows = chunk["table"], chunk["rows"]
    if not isinstance(table, str) or (table not in SCHEMAS and table != _STUDIES):
        raise ValueError(f"{show_value(table)} is no table that travels")
    if not isinstance(rows, list) or not 1 <= len(rows) <= CHUNK_ROWS:
        raise ValueError(f"rows of {table} should be a list of 1 to {CHUNK_ROWS}, not {show_value(rows)}")
    return table


class _Content:
    """The studies of a file in turn, then the looks."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._name = StudyName.parse(header.study)
        self._sections = [Section(self._name)]
        self._looks: _Looks | None = None

    def take(self, table: str, rows: Sequence[Any]) -> None:
        if table in (_LOOK, _LOOK_IMAGE):
            if self._looks is None:
                self._finish_section()
                self._looks = _Looks(str(self._name.sibling("confirm")), self._sections[0].locked)
            self._looks.take(table, rows)
        elif self._looks is not None:
            raise ValueError("should not come here: looks are last")
        elif table == _STUDIES:
            self._begin_sibling(rows)
        else:
            self._sections[-1].take(table, rows)

    def finish(self) -> None:
        if self._looks is None:
            self._finish_section()
        else:
            self._looks.finish()
        trials = sum(section.trials for section in self._sections)
        waiting = sum(section.waiting for section in self._sections)
        if trials != self._header.trials or waiting < self._header.requeued:
            told = f"{show_value(self._header.trials)} trials, {show_value(self._header.requeued)} requeued"
            raise ValueError(f"the header tells of {told}, and the file has {trials}, {waiting} of them waiting")

    def _finish_section(self) -> None:
        first, last = self._sections[0], self._sections[-1]
        last.finish()
        if table := last.find_difference(first):
            raise ValueError(f"{last.name} has other rows of the table {table} than {first.name} beside it")

    def _begin_sibling(self, rows: Sequence[Any]) -> None:
        self._finish_section()
        left = [name for name in self._name.siblings if name not in [each.name for each in self._sections]]
        for name in left:
            if rows == [{"study_name": str(name)}]:
                self._sections.append(Section(name))
                return
        known = " or ".join(map(str, left)) or "none"
        raise ValueError(f"a study beside {self._name} should be {known}, not {show_value(rows, 120)}")


class _Looks:
    """The looks of one confirmation, and the images of the locks that it opened.

    A lock is known by the hash of its images (store/looks.py), so a file can name no images for it but its own.

    Args:
        study_name: of the `#confirm` study.
        locked: hashes of the images that are locked in its study.
    """

    def __init__(self, study_name: str, locked: Sequence[str]) -> None:
        self._study_name = study_name
        # equal images are one row of the table, and two lines of what the lock's hash is formed of
        self._own = {_hash(sorted(locked)): _hash(sorted(set(locked)))}
        self._locks: set[str] = set()
        self._lock, self._image = "", ""
        self._digest = hashlib.sha256()

    def take(self, table: str, rows: Sequence[Any]) -> None:
        for problem in SCHEMAS[table].find_problems(rows):
            raise ValueError(problem)
        for position, row in enumerate(rows, 1):
            if table == _LOOK_IMAGE:
                self._take_image(position, row)
            elif row["study_name"] != self._study_name or self._lock:
                found = show_value(row["study_name"])
                raise ValueError(f"row {position}, column study_name: should be {self._study_name}, not {found}")
            else:
                self._locks.add(row["lock_sha256"])
                if len(self._locks) > _MOST_LOCKS:
                    raise ValueError(f"has more than {_MOST_LOCKS:,} locks")

    def finish(self) -> None:
        """Raises ValueError if the last lock has other images than its hash says."""
        if self._lock and self._digest.hexdigest() != self._own.get(self._lock, self._lock):
            raise ValueError(f"the images of the lock {self._lock} are not those that its hash is formed of")

    def _take_image(self, position: int, row: Mapping[str, str]) -> None:
        lock, image = row["lock_sha256"], row["image_sha256"]
        if lock not in self._locks or lock < self._lock or (lock == self._lock and image <= self._image):
            raise ValueError(
                f"row {position}, column lock_sha256: should be a lock of a look, in order, not {lock}"
            )
        if lock != self._lock:
            self.finish()
            self._digest = hashlib.sha256(image.encode())
        else:
            self._digest.update(f"\n{image}".encode())
        self._lock, self._image = lock, image


def _hash(images: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(images).encode()).hexdigest()
