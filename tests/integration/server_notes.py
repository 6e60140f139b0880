"""Write into an embedded database, read it back, and kill its server in between."""

import os
import signal
import time
from collections.abc import Callable

from sqlalchemy import text

from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.engine import make_engine


def write_note(cluster: EmbeddedCluster, note: str) -> None:
    engine = make_engine(cluster.url())
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS notes (note text)"))
        connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": note})
    engine.dispose()


def read_notes(cluster: EmbeddedCluster) -> list[str]:
    engine = make_engine(cluster.url())
    with engine.connect() as connection:
        notes = list(connection.execute(text("SELECT note FROM notes")).scalars())
    engine.dispose()
    return notes


def kill_server(cluster: EmbeddedCluster) -> int:
    pid = cluster.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not cluster.status().running)
    return pid


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
