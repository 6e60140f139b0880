"""Wait out a database that is away, instead of losing the work that stands in memory."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

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

    def run(self, act: Callable[[], _T], before_another_try: Callable[[], None] = lambda: None) -> _T:
        """What `act` returns, once it gets through.

        Args:
            act: may be called several times, and may have had its effect although it failed: the connection can
                break after the commit. So what it does twice must come to the same as once.
            before_another_try: what must be put right for that.

        Raises:
            EnvironmentMissingError: the database was away for longer than the limit.
        """
        deadline: float | None = None
        delay_s = _FIRST_S
        while True:
            try:
                if deadline is not None:
                    before_another_try()
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
