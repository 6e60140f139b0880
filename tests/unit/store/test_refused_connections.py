"""A connection that was refused is closed at once, also while somebody still holds the error."""

import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from anomalyvfm_opt.store.driver import ReadableConnection

_ASK_FOR_PASSWORD = b"R" + struct.pack("!ii", 8, 3)


def ask_and_listen(listener: socket.socket) -> bytes:
    """Ask whoever connects for a password, and return what comes then: nothing, once the client has hung up."""
    asked, _ = listener.accept()
    with asked:
        asked.settimeout(10)
        asked.recv(4096)  # who it is
        asked.sendall(_ASK_FOR_PASSWORD)
        return asked.recv(4096)


def test_a_server_that_waits_for_a_password_hears_that_none_comes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        heard = pool.submit(ask_and_listen, listener)
        port = listener.getsockname()[1]
        where = f"host=127.0.0.1 port={port} user=nobody dbname=x passfile=/dev/null"
        options = f"{where} sslmode=disable gssencmode=disable"
        with pytest.raises(psycopg2.OperationalError, match="password") as held:
            psycopg2.connect(options, connection_factory=ReadableConnection)
        assert heard.result(timeout=20) == b""
        assert held.value is not None
