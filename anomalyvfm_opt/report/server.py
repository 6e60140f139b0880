"""The HTTP server under the dashboard: one thread a connection, and never more than so many.

Whoever connects and says nothing, or a byte now and then, would hold a thread for ever, and so would whoever reads
the answer like that. So each connection is closed after a while, however busy it looks. And when all threads are
taken, the next connection takes the place of one that has not said yet what it asks for, or else of the oldest.
"""

import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from threading import Condition
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

MOST_CONNECTIONS = 64
_ROOM_S = 1.0  # that a connection which was closed may take to leave


@dataclass
class _Connection:
    """One that holds a thread."""

    deadline: float  # by the monotonic clock
    has_asked: bool = False


class Server(ThreadingMixIn, WSGIServer):
    """One thread a connection, so that a slow one holds up nobody."""

    daemon_threads = True
    request_queue_size = 64
    head_s = 15.0  # from the connection to the end of what it asks for
    whole_s = 120.0  # from there to the end of the answer, with the body that comes before it

    def __init__(self, *arguments: Any) -> None:
        self._open: dict[socket.socket, _Connection] = {}  # oldest first
        self._changed = Condition()
        super().__init__(*arguments)

    def server_bind(self) -> None:
        """Bind without asking the network for this host's name, which may take seconds."""
        host, port = str(self.server_address[0]), int(self.server_address[1])
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = host, port
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a connection to a thread, if there is room or can be made."""
        with self._changed:
            if len(self._open) >= MOST_CONNECTIONS:
                _close(min(self._open, key=lambda request: self._open[request].has_asked))  # the first of equals
            if not self._changed.wait_for(lambda: len(self._open) < MOST_CONNECTIONS, _ROOM_S):
                super().shutdown_request(request)
                return
            self._open[request] = _Connection(time.monotonic() + self.head_s)
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Close the connections whose time is up; called a few times a second, whatever they do."""
        with self._changed:
            for request, connection in self._open.items():
                if time.monotonic() > connection.deadline:
                    _close(request)

    def note_asked(self, request: socket.socket) -> None:
        """Note that a connection has said what it asks for."""
        with self._changed:
            self._open[request] = _Connection(time.monotonic() + self.whole_s, has_asked=True)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and note that there is room for another one."""
        super().shutdown_request(request)
        with self._changed:
            self._open.pop(request, None)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that broke: whoever made it knows."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(WSGIRequestHandler):
    """Writes no requests down: there may be a token in one."""

    server: Server

    def parse_request(self) -> bool:
        """Read the request's head."""
        is_read = super().parse_request()
        self.server.note_asked(self.connection)
        return is_read

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def _close(request: socket.socket) -> None:
    """Let the thread of a connection find its end, whatever it waits for."""
    with suppress(OSError):  # it has gone by itself
        request.shutdown(socket.SHUT_RDWR)


def serve(application: Callable[..., Any], host: str, port: int) -> None:
    """Serve an application until interrupted.

    Args:
        application: WSGI's.
        host: address to listen on.
        port: to listen on.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    server_class = type("_Bound", (Server,), {"address_family": family})
    with server_class((host, port), Handler) as server:
        server.set_app(application)
        server.serve_forever(poll_interval=0.2)
