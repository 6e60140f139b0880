"""A server that speaks as much of PostgreSQL's protocol as it takes to refuse everybody, in French.

A localised server does, in an encoding of its own before a client has said which one it understands.
"""

import socketserver
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Thread

REFUSAL = "le système de base de données s'arrête"
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


class _Refusing(socketserver.BaseRequestHandler):
    code, words = b"", b""

    def handle(self) -> None:
        while (header := self._read(8)) and struct.unpack("!ii", header)[1] in (_SSL_REQUEST, _GSS_REQUEST):
            self.request.sendall(b"N")
        if header:
            self._read(struct.unpack("!ii", header)[0] - 8)
            fields = b"SFATAL\0VFATAL\0C" + self.code + b"\0M" + self.words + b"\0\0"
            self.request.sendall(b"E" + struct.pack("!i", 4 + len(fields)) + fields)

    def _read(self, size: int) -> bytes:
        got = b""
        while len(got) < size and (more := self.request.recv(size - len(got))):
            got += more
        return got


def refusing_in_latin() -> AbstractContextManager[str]:
    """Return the URL of such a server that stops, and says so in Latin-1."""
    return refusing("57P03", REFUSAL, "latin-1")


@contextmanager
def refusing(code: str, words: str, encoding: str = "utf-8") -> Iterator[str]:
    """Return the URL of such a server, which is there for the length of a `with`.

    Args:
        code: SQLSTATE of its refusal.
        words: of it.
        encoding: of these.
    """
    said = {"code": code.encode(), "words": words.encode(encoding)}
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Refusing", (_Refusing,), said)) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"postgresql://somebody@127.0.0.1:{server.server_address[1]}/studies?gssencmode=disable"
        server.shutdown()
