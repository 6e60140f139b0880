"""What the tables say to a command whose study is deleted under it, and what to make of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError

from anomalyvfm_opt.store.optuna_private import describe_missing

_NO_SUCH_ROW = "23503"  # SQLSTATE of a foreign key: what a row is to hang on is not there


def is_deletion(error: BaseException) -> bool:
    """Return whether an error says that a study or a trial is gone, in Optuna's words or the database's."""
    if isinstance(error, IntegrityError):
        return getattr(error.orig, "pgcode", None) == _NO_SUCH_ROW
    return isinstance(error, KeyError) and error.args == (describe_missing(),)


@contextmanager
def passed_over(name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Be done with a study that is deleted within the `with`, with a line, so that the next ones get their turn.

    Args:
        name: of the study.
        say: takes the line.
    """
    try:
        yield
    except (KeyError, IntegrityError) as error:
        if not is_deletion(error):
            raise
        say(f"{name} was deleted meanwhile")
