"""What `worker list` shows: the workers of a study store, on whatever host."""

from collections.abc import Sequence

from anomalyvfm_opt.report.grid import Grid
from anomalyvfm_opt.store.workers import WorkerRow

_COLUMNS = ("worker", "state", "trial", "heard of", "device", "host", "version")
_WORK = ("study", "trial", "epoch", "epochs")
_KEYS = ("name", "state", "host", "pid", "device", "version", *_WORK, "drain", "end_reason")
_TIMES = ("started_at", "heartbeat_at", "ended_at")


def tabulate_workers(workers: Sequence[WorkerRow]) -> Grid:
    """Return a table with a row for each worker: what it runs, or why it ended, and when it was last heard of."""
    rows = [
        (
            worker.name,
            worker.state,
            worker.at_work or worker.end_reason or "-",
            f"{worker.silent_s:.0f} s ago",
            worker.device,
            worker.host,
            worker.version,
        )
        for worker in workers
    ]
    return Grid("", _COLUMNS, rows, right=(3,))


def worker_to_json(worker: WorkerRow) -> dict[str, object]:
    """Return one element of `worker list --json` (schema 1)."""
    times = {name: getattr(worker, name) for name in _TIMES}
    return {
        **{key: getattr(worker, key) for key in _KEYS},
        **{name: value.isoformat() if value is not None else None for name, value in times.items()},
    }
