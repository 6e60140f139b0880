"""A fleet of workers as this program's commands show it: on a display while it runs, then by its summary."""

from collections.abc import Callable, Sequence

from anomalyvfm_opt.cli.fleet.display import open_display
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.tables import print_grid
from anomalyvfm_opt.launch.base import Launcher, Slot
from anomalyvfm_opt.launch.local import LocalLauncher
from anomalyvfm_opt.report.grid import Grid, Part
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.worker import fleet


def run_fleet(
    store: Store,
    select: Callable[[], list[StudyRecord]],
    slots: Sequence[Slot],
    arguments: Sequence[str],
    make_launcher: Callable[[Callable[[Slot, str], None]], Launcher] = LocalLauncher,
) -> int:
    """Run a fleet to its end, as `worker.fleet.run_fleet` does, and return its exit code."""
    return fleet.run_fleet(store, select, slots, arguments, fleet.Screen(open_display, _tell), make_launcher)


def _tell(part: Part) -> None:
    """Print a table, which is data, on stdout; say a line on stderr."""
    if isinstance(part, Grid):
        print_grid(part)
    else:
        say(part)
