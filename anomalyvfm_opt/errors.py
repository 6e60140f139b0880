"""One root error, and a few leaves whose type says what to do next.

Every error is written for a person: what was wrong, the value, and what to do.
The exit code tells a script or a job scheduler whether a retry can help.
"""

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class AnomalyVFMOptError(Exception):
    """Root of all errors that a user can act on.

    Args:
        message: what was wrong, with the value.
        hint: what to do about it; empty if the message says it already.
    """

    exit_code = EXIT_BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(AnomalyVFMOptError):
    """A mistake on the command line; the same call will fail again."""

    exit_code = EXIT_USAGE


class SpecError(UsageError):
    """A spec that cannot be read or that contradicts itself."""


class BadDataError(UsageError):
    """Images that are there but cannot be used: truncated, mislabelled, too few."""


class EnvironmentMissingError(AnomalyVFMOptError):
    """The database, weights, data, disk or device is not there (yet); retry later."""

    exit_code = EXIT_ENVIRONMENT


class DeviceLostError(EnvironmentMissingError):
    """A GPU that answers every further call of this process with an error; a new process may use it again."""


class DoesNotFitError(AnomalyVFMOptError):
    """A trial that needs more memory than the device has; the sampler is told so."""


class DivergedError(AnomalyVFMOptError):
    """A trial whose training ran away; its parameters are to blame, and the sampler is told so."""


class OutsideSpaceError(AnomalyVFMOptError):
    """A trial that somebody enqueued with what its study does not search; the sampler is told so."""
