"""When a worker that ended is started again. Pure: it is told how long the worker lived."""

from dataclasses import dataclass

from anomalyvfm_opt.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_USAGE

_FIRST_S = 1.0
_STEADY_S = 120.0  # a worker that lived so long was well: the count begins anew
_MOST_IN_A_ROW = 6
# done; told to stop, by whomever; and what a retry cannot help
_FINAL = (EXIT_DONE, EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_USAGE)


@dataclass
class Restarts:
    """The restarts of one slot."""

    total: int = 0
    in_a_row: int = 0

    def plan(self, code: int, lived_s: float) -> float | None:
        """Return seconds to wait before the next start; None if there is to be none.

        Args:
            code: the worker's exit code, or the negative number of the signal that killed it.
            lived_s: from its start to its end.
        """
        if code in _FINAL:
            return None
        self.in_a_row = 1 if lived_s >= _STEADY_S else self.in_a_row + 1
        if self.in_a_row > _MOST_IN_A_ROW:
            return None
        self.total += 1
        return _FIRST_S * 2.0 ** (self.in_a_row - 1)
