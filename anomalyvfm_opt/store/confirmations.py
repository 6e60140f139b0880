"""Confirmations: what was decided before a lock was opened, and on which kind of device it is carried out."""

import getpass
import json
import platform
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select, text

from anomalyvfm_opt.store import tables

_INSERT = text("""
    INSERT INTO anomalyvfm_opt.confirmation (study_id, round, plan, made_by)
    VALUES (:study_id, :round, CAST(:plan AS jsonb), :made_by) ON CONFLICT DO NOTHING
""")
_FIND = text(
    "SELECT device FROM anomalyvfm_opt.confirmation WHERE study_id = :study_id ORDER BY round DESC LIMIT 1"
)
_CLAIM = text(f"""
    UPDATE anomalyvfm_opt.confirmation SET device = :device
     WHERE study_id = :study_id AND device = ''
       AND round = (SELECT max(round) FROM anomalyvfm_opt.confirmation WHERE study_id = :study_id);
    {_FIND.text}
""")  # noqa: S608 - our own


@dataclass(frozen=True)
class StoredConfirmation:
    """A confirmation of one study. `device` is empty until a worker has joined it."""

    round: int
    plan: dict[str, Any]
    device: str
    made_at: datetime
    made_by: str


def insert_confirmation(connection: Connection, study_id: int, number: int, plan: dict[str, Any]) -> bool:
    """Write a plan down, in the caller's transaction; False if there is one of that number, which stays.

    Args:
        connection: of the transaction that also plans the trials.
        study_id: of the `#confirm` study.
        number: of the round, from 1.
        plan: what is decided.
    """
    values = {"study_id": study_id, "round": number, "plan": json.dumps(plan), "made_by": name_person()}
    return connection.execute(_INSERT, values).rowcount > 0


def list_confirmations(engine: Engine, study_id: int) -> list[StoredConfirmation]:
    """Return all rounds of a `#confirm` study, earliest first."""
    table = tables.confirmation
    columns = (table.c.round, table.c.plan, table.c.device, table.c.made_at, table.c.made_by)
    query = select(*columns).where(table.c.study_id == study_id).order_by(table.c.round)
    with engine.connect() as connection:
        return [StoredConfirmation(**row._asdict()) for row in connection.execute(query)]


def find_device(engine: Engine, study_id: int) -> str:
    """Return the kind of device that the latest round is carried out on; empty until a worker has joined it."""
    with engine.connect() as connection:
        found: str | None = connection.scalar(_FIND, {"study_id": study_id})
    return found or ""


def claim_device(engine: Engine, study_id: int, device: str) -> str:
    """Return the kind of device that the latest round is carried out on: that of the first worker that asked.

    Args:
        engine: of the study store.
        study_id: of the `#confirm` study.
        device: kind of the worker that asks.
    """
    with engine.begin() as connection:
        claimed: str | None = connection.scalar(_CLAIM, {"study_id": study_id, "device": device})
    return claimed or device


def name_person() -> str:
    """Return who runs this process, as far as the host knows: `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        user = "unknown"
    return f"{user}@{platform.node()}"
