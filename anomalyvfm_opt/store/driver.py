"""psycopg2's connection, with refusals made readable: in another encoding than UTF-8, or another language.

A localised server speaks its own encoding until it knows the client's, as while it restarts. psycopg2 then raises
UnicodeDecodeError in place of its own error, which nobody would take for what it is: a database that is away. Once
a session stands, psycopg2 replaces what it cannot read.

A refusal in UTF-8 and in another language than English has its SQLSTATE behind it where it may pass by itself.
"""

from typing import Any

from psycopg2 import OperationalError  # type: ignore[import-untyped]
from psycopg2.extensions import connection, parse_dsn  # type: ignore[import-untyped]

from anomalyvfm_opt.store.refusal import PASSING, find_code

NOT_UTF8 = "the server's message is not UTF-8"


class ReadableConnection(connection):  # type: ignore[misc]
    """A connection whose refusal is psycopg2's error, whatever encoding the server speaks."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        try:
            super().__init__(*arguments, **options)
        except UnicodeDecodeError as error:
            self._hang_up()
            raise OperationalError(f"{error.object.decode('latin-1').strip()} ({NOT_UTF8})") from error
        except OperationalError as error:
            self._hang_up()
            code = find_code(str(error), parse_dsn(arguments[0]) if arguments else {})
            if code not in PASSING:
                raise
            raise OperationalError(f"{str(error).strip()} [{code}]") from error

    def _hang_up(self) -> None:
        """Close what was refused now, and not when the error that holds it is forgotten.

        A server that asked for a password waits a minute for it, and with it whoever drops a database meanwhile.
        """
        super().close()
