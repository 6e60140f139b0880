"""Why a server refused a connection, in whatever language it speaks: its SQLSTATE, asked for once more.

libpq gives the words of a refusal and not its code, and a server words it in its own language (lc_messages), which
no client may set before it is let in. Here as much of the protocol is spoken as the code takes: a startup message,
to which a server that starts, stops or is full answers before it asks who comes. What it refuses later (a
password, a database, a slot that is kept for superusers) is not seen here.
"""

import re
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress

PASSING = ("57P03", "53300")  # the server starts or stops; it has too many clients
_REFUSED = re.compile(
    r'connection to server (?:at "(?P<name>[^"]+)"(?: \((?P<address>[^)]+)\))?, port (?P<port>\d+)|on socket'
    r' "(?P<socket>[^"]+)") failed: [^:\n]+:  '  # the severity, and what libpq puts behind it
)
_PROTOCOL_3 = 196608
_MOST_BYTES = 2**16  # of an answer
_LIMIT_S = 3.0


def find_code(message: str, settings: Mapping[str, str]) -> str | None:
    """Return the SQLSTATE with which a server refuses now; None where it did not refuse, or does not any more.

    Args:
        message: of libpq, about the connection that failed.
        settings: user and dbname of that connection.
    """
    refused = _REFUSED.search(message)
    if refused is None:
        return None
    user = settings.get("user", "nobody")
    with suppress(OSError), _connect(refused) as connection:
        connection.sendall(_form_startup({"user": user, "database": settings.get("dbname", user)}))
        return _read_code(connection)
    return None


def _connect(refused: re.Match[str]) -> socket.socket:
    if path := refused["socket"]:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_LIMIT_S)
        connection.connect(path)
        return connection
    return socket.create_connection((refused["address"] or refused["name"], int(refused["port"])), _LIMIT_S)


def _form_startup(parameters: Mapping[str, str]) -> bytes:
    body = struct.pack("!i", _PROTOCOL_3)
    body += b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
    return struct.pack("!i", 4 + len(body)) + body


def _read_code(connection: socket.socket) -> str | None:
    """Return the code of an error; None for another answer, such as the request for a password."""
    header = _read(connection, 5)
    if header[:1] != b"E":
        return None
    (size,) = struct.unpack("!i", header[1:])
    fields = _read(connection, min(size - 4, _MOST_BYTES)).split(b"\0")
    codes = [field[1:].decode("ascii", "replace") for field in fields if field.startswith(b"C")]
    return codes[0] if codes else None


def _read(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes.

    Raises:
        ConnectionError: the server closed the connection before.
    """
    got = b""
    while len(got) < size:
        more = connection.recv(size - len(got))
        if not more:
            raise ConnectionError("the server closed the connection")
        got += more
    return got
