"""A study with its siblings and the looks at its locked images, as they travel to another store.

In the stream of chunks a sibling follows the study that it stands beside, after a row with its name. Looks come
last. A file from before there were any holds one study, and reads the same.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, String, Table, bindparam, collate, select, text

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.spec.study_name import StudyName
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.transfer.file import Content
from anomalyvfm_opt.store.transfer.rows import encode_value, form_chunks, insert_like, insert_study, read_study

_SIBLING = tables.optuna_studies
_LOOKS = {table.fullname: table for table in (tables.look, tables.look_image)}
_FIND = select(_SIBLING.c.study_id).where(_SIBLING.c.study_name == bindparam("name"))
_NEW = text("INSERT INTO studies (study_name) VALUES (:name) ON CONFLICT DO NOTHING RETURNING study_id")


def list_family(connection: Connection, name: str) -> dict[str, int]:
    """Return a study and its siblings, as far as they are there: name -> id."""
    names = (name, *map(str, StudyName.parse(name).siblings))
    found = {one: connection.scalar(_FIND, {"name": one}) for one in names}
    return {one: study_id for one, study_id in found.items() if study_id is not None}


def read_family(connection: Connection, name: str) -> Iterator[Content]:
    """Return the rows of a study and of its siblings in chunks `{"table": name, "rows": [...]}`.

    Args:
        connection: in one snapshot from first to last.
        name: of the study that searches.
    """
    for one, study_id in list_family(connection, name).items():
        if one != name:
            yield {"table": _SIBLING.fullname, "rows": [{"study_name": one}]}
        yield from read_study(connection, study_id)
    confirm = str(StudyName.parse(name).sibling("confirm"))
    locks = select(tables.look.c.lock_sha256).where(tables.look.c.study_name == confirm)
    yield from _read(connection, tables.look, select(tables.look).where(tables.look.c.study_name == confirm))
    images = select(tables.look_image).where(tables.look_image.c.lock_sha256.in_(locks))
    yield from _read(connection, tables.look_image, images)


def insert_family(connection: Connection, study_id: int, chunks: Iterable[Content]) -> None:
    """Insert the rows of `read_family`; those of the study that searches under its new id.

    Raises:
        UsageError: an Optuna study of a sibling's name is there.
    """
    sibling = ""

    def find_owner(chunk: Content) -> str:
        nonlocal sibling
        if chunk["table"] == _SIBLING.fullname:
            sibling = chunk["rows"][0]["study_name"]
        return chunk["table"] if chunk["table"] in _LOOKS else sibling

    for owner, ours in groupby(chunks, find_owner):
        if owner in _LOOKS:
            for chunk in ours:
                _insert_looks(connection, chunk)
        else:
            owner_id = _create(connection, owner) if owner else study_id
            rows = (chunk for chunk in ours if chunk["table"] != _SIBLING.fullname)
            insert_study(connection, owner_id, rows)


def _read(connection: Connection, table: Table, query: Select[Any]) -> Iterator[Content]:
    keys = [collate(c, "C") if isinstance(c.type, String) else c for c in table.primary_key]
    found = connection.execute(query.order_by(*keys)).mappings()
    rows = ({name: encode_value(value) for name, value in row.items()} for row in found)
    yield from form_chunks(table, rows)


def _create(connection: Connection, name: str) -> int:
    study_id: int | None = connection.scalar(_NEW, {"name": name})
    if study_id is None:
        raise UsageError(
            f"an Optuna study {name!r} is in this database already",
            "import into another database, or delete that study with Optuna",
        )
    return study_id


def _insert_looks(connection: Connection, chunk: Content) -> None:
    """Looks belong to the images: the store may know them already."""
    insertion = f"{insert_like(_LOOKS[chunk['table']], chunk['rows'][0]).text} ON CONFLICT DO NOTHING"
    connection.execute(text(insertion), {"rows": json.dumps(chunk["rows"], ensure_ascii=False)})
