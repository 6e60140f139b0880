"""Wait out a database that is away, instead of losing the work that stands in memory."""

import logging
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from anomalyvfm_opt.store.engine import explain_database_error, is_outage

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_FIRST_S, _LONGEST_S = 0.2, 10.0
_LOOK_S = 0.2


class Patience:
    """Does things with the database again until it answers.

    Args:
        limit_s: for how long in a row.
        check: called while waiting; what it raises ends the wait.
    """

    def __init__(self, limit_s: float, check: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._check = check

    def run(self, act: Callable[[], _T]) -> _T:
        """Return what `act` returns, once it gets through.

        Args:
            act: may be called several times, and may have had its effect although it failed: the connection can
                break after the commit. So it must be idempotent.

        Raises:
            EnvironmentMissingError: the database was away for longer than the limit.
        """
        deadline: float | None = None
        delay_s = _FIRST_S
        while True:
            try:
                return act()
            except (SQLAlchemyError, StorageInternalError) as error:
                if not is_outage(error):
                    raise
                explained = explain_database_error(error)
                if deadline is None:
                    deadline = time.monotonic() + self._limit_s
                    _log.warning("%s; waiting up to %g s for it", explained.message, self._limit_s)
                if time.monotonic() >= deadline:
                    raise explained from error
            self._wait(delay_s * random.uniform(0.5, 1.5))  # noqa: S311 - so that a fleet does not come back as one
            delay_s = min(2 * delay_s, _LONGEST_S)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, _LOOK_S))


class PatientStore:
    """Has the operations of the store behind it, and repeats each until the database answers.

    Args:
        store: an object whose methods are idempotent.
        patience: with which it waits.
    """

    def __init__(self, store: object, patience: Patience) -> None:
        self._store = store
        self._patience = patience

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(self._store, name)
        if not callable(operation):
            raise AttributeError(f"{name} is no operation of {type(self._store).__name__}: ask it directly")

        def repeat(*arguments: Any, **options: Any) -> Any:
            return self._patience.run(lambda: operation(*arguments, **options))

        return repeat


def wait_out(store: _T, limit_s: float, check: Callable[[], None]) -> _T:
    """Return a store with the same operations, which waits out an outage: whoever calls it need not know.

    Args:
        store: an object whose methods are idempotent.
        limit_s: how long the database may be away.
        check: called while waiting; what it raises ends the wait.

    Each operation raises EnvironmentMissingError when the database was away for longer than the limit.
    """
    return cast(_T, PatientStore(store, Patience(limit_s, check)))
