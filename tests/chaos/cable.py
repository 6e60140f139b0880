"""A network cable that can be pulled: a TCP proxy between workers and their database."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Cable:
    """Passes bytes on in both directions; pulled, it passes nothing on and breaks no connection.

    Args:
        port: of the server behind it, on this host.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._plugged = threading.Event()
        self._plugged.set()
        self._is_open = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        """From now on nothing arrives, as when a switch dies: no end of a connection is told either."""
        self._plugged.clear()

    def plug(self) -> None:
        """What was held up arrives."""
        self._plugged.set()

    def close(self) -> None:
        """No more connections."""
        self._is_open = False
        self._plugged.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while self._is_open:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self._plugged.wait()
            with socket.create_connection(self._target) as server:
                other = {client: server, server: client}
                while self._is_open:
                    readable, _, _ = select.select(list(other), [], [], 0.2)
                    self._plugged.wait()
                    for end in readable:
                        content = end.recv(65536)
                        if not content:
                            return
                        other[end].sendall(content)


@contextmanager
def plugged_in(port: int) -> Iterator[Cable]:
    """A cable for the length of a `with`."""
    cable = Cable(port)
    try:
        yield cable
    finally:
        cable.close()
