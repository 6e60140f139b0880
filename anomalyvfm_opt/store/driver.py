"""psycopg2's connection, with refusals made readable: in another encoding than UTF-8, or another language.

A localised server speaks its own encoding until it knows the client's, as while it restarts. psycopg2 then raises
UnicodeDecodeError in place of its own error, which nobody would take for what it is: a database that is away. Once
a session stands, psycopg2 replaces what it cannot read.

A refusal in UTF-8 and in another language than English has its SQLSTATE behind it where it may pass by itself.

A session looks for Optuna's tables in one schema, whatever the role, the database or the environment say of its
search path: Optuna itself names no schema, and two sessions with two search paths would see two stores. Likewise
it is at READ COMMITTED (what waited for a lock has to see what the lock's last owner left: else tickets are taken
beyond the budget), and gives numbers with all of their digits.
"""

from typing import Any

from psycopg2 import OperationalError  # type: ignore[import-untyped]
from psycopg2.extensions import connection, parse_dsn  # type: ignore[import-untyped]

from anomalyvfm_opt.store.refusal import PASSING, find_code

NOT_UTF8 = "the server's message is not UTF-8"
OPTUNA_SCHEMA = "public"
_SETTINGS = f"""
SET search_path TO {OPTUNA_SCHEMA};
SET default_transaction_isolation TO 'read committed';
SET default_transaction_deferrable TO off;
SET extra_float_digits TO 1
"""


class ReadableConnection(connection):  # type: ignore[misc]
    """A connection whose refusal is psycopg2's error, whatever encoding the server speaks.

    What answers depend on is set when the session stands: PgBouncer refuses it in a startup packet.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        try:
            super().__init__(*arguments, **options)
            self._settle()
        except UnicodeDecodeError as error:
            self._hang_up()
            raise OperationalError(f"{error.object.decode('latin-1').strip()} ({NOT_UTF8})") from error
        except OperationalError as error:
            self._hang_up()
            code = find_code(str(error), parse_dsn(arguments[0]) if arguments else {})
            if code not in PASSING:
                raise
            raise OperationalError(f"{str(error).strip()} [{code}]") from error

    def _settle(self) -> None:
        self.autocommit = True  # one round trip, and no rollback takes it back
        with self.cursor() as cursor:
            cursor.execute(_SETTINGS)
        self.autocommit = False

    def _hang_up(self) -> None:
        """Close what was refused now, and not when the error that holds it is forgotten.

        A server that asked for a password waits a minute for it, and with it whoever drops a database meanwhile.
        """
        super().close()
