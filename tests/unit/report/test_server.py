"""The server under the dashboard, by real sockets: who is slow or silent holds up nobody."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import optuna
import optuna_dashboard
import pytest

from anomalyvfm_opt.report.server import MOST_CONNECTIONS, Handler, Server

LARGE = b"x" * 50_000_000  # more than the buffers of both ends hold


class HastyServer(Server):
    """The same, with less time for each connection."""

    head_s = 0.5
    whole_s = 1.0


def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Read the body; `/large` is answered by much, in one piece or in many."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = LARGE if environ["PATH_INFO"].startswith("/large") else b"ok"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    size = 8192 if environ["PATH_INFO"] == "/large/pieces" else len(body)
    return (body[i : i + size] for i in range(0, len(body), size))


@contextmanager
def serving(server_class: type[Server], application: Callable[..., Any] = answer) -> Iterator[int]:
    """The port of a server that runs."""
    with server_class(("127.0.0.1", 0), Handler) as server:
        server.set_app(application)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    with serving(Server) as number:
        yield number


def ask(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = b""
        while more := connection.recv(4096):
            got += more
        return got


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: lo", b"GET / HTTP/1.1\r\n"])
def test_slow_connections_hold_no_more_threads_than_there_are(port: int, said: bytes) -> None:
    before = threading.active_count()
    with ExitStack() as held:
        for _ in range(3 * MOST_CONNECTIONS):
            slow = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            slow.sendall(said)
        for _ in range(3):
            assert ask(port).endswith(b"ok")
        assert threading.active_count() <= before + MOST_CONNECTIONS


def test_who_asks_quickly_is_not_thrown_out_for_who_is_slow(port: int) -> None:
    with ExitStack() as held:
        for _ in range(MOST_CONNECTIONS - 1):
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        assert [ask(port)[-2:] for _ in range(5)] == [b"ok"] * 5


@pytest.mark.parametrize(
    ("said", "dripped"),
    [
        (b"", b"G"),
        (b"GET / HTTP/1.1\r\n", b"X-A: b\r\n"),
        (b"GET / HTTP/1.1\r\nX-A: ", b"b"),
        (b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n", b""),  # silent
    ],
)
def test_who_asks_a_byte_at_a_time_is_closed(
    said: bytes, dripped: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    before = threading.active_count()
    with serving(HastyServer) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(said)
        began = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - began < 5:
                time.sleep(0.1)
                slow.sendall(dripped)
                if _has_ended(slow):
                    break
        assert time.monotonic() - began < 3
        _wait_until(lambda: threading.active_count() <= before + 1)  # the server's own
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("path", [b"/large", b"/large/pieces"])
def test_who_reads_a_byte_at_a_time_is_closed(path: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with serving(HastyServer) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.monotonic()
        with suppress(ConnectionError):
            while threading.active_count() > before + 1 or time.monotonic() - began < 0.3:
                assert time.monotonic() - began < 5
                time.sleep(0.1)
                slow.recv(1)
        _wait_until(lambda: threading.active_count() <= before + 1)
    assert "Traceback" not in capfd.readouterr().err


def test_a_body_that_comes_slowly_changes_nothing_and_shows_no_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As optuna-dashboard reads it with `--allow-write`: half of a body is none."""
    store = optuna.storages.InMemoryStorage()
    body = json.dumps({"study_name": "half", "directions": ["minimize"]}).encode()
    head = f"POST /api/studies HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with serving(HastyServer, optuna_dashboard.wsgi(store)) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
            slow.sendall(head.encode() + body[:-1])
            assert slow.recv(4096) == b""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as quick:
            quick.sendall(head.encode() + body)
            assert b"201" in quick.recv(4096)
    assert len(store.get_all_studies()) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_who_reads_slowly_but_in_time_gets_all(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1)
        n = 0
        while more := slow.recv(1 << 20):
            n += len(more)
    assert n > len(LARGE)


def _has_ended(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    finally:
        connection.settimeout(10)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
