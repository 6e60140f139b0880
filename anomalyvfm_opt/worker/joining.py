"""Whether this program may work on a study: by what the store holds, before anything of the host is looked at."""

from anomalyvfm_opt import METHOD, __version__
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.studies import StudyRecord


def check_joinable(record: StudyRecord) -> None:
    """Refuse a study whose numbers would not compare with those that it has.

    Images, masks and weights are compared where they are opened: see `find_images` and `Backbones.open_for`.

    Raises:
        UsageError: its spec is not the one that it was created with, or it was created by another method.
    """
    if not record.is_spec_intact:
        raise UsageError(
            f"the spec of {record.name} is not the one that it was created with (hash {record.spec_sha256[:12]}):"
            " somebody changed the stored one; this worker does not join it",
            "restore a backup, or create it anew under another name and end this one by `study stop`",
        )
    if record.method != METHOD:
        side = "newer" if record.method > METHOD else "older"
        raise UsageError(
            f"{record.name} was created by a program of method {record.method}, and this one, {__version__}, is of"
            f" method {METHOD}: the same trial would give other numbers; this worker does not join it",
            f"give it a worker of that {side} version",
        )
