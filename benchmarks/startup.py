"""How long `anomalyvfm-opt --help` takes, against a program that only has Typer print a help page."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

GOAL_S = 0.3
REPEATS = 10
PLAIN = "import typer; app = typer.Typer(); app.command()(lambda: None); app(['--help'])"


def measure(*command: str) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    ours = (str(Path(sys.executable).with_name("anomalyvfm-opt")), "--help")
    plain = (sys.executable, "-c", PLAIN)
    measure(*ours), measure(*plain)  # the first run reads the files from the disk
    pairs = [(measure(*ours), measure(*plain)) for _ in range(REPEATS)]
    seconds, plain_seconds = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"anomalyvfm-opt --help   {seconds:.3f} s (median of {REPEATS})")
    print(f"Typer alone, --help     {plain_seconds:.3f} s")
    print(f"ratio                   {seconds / plain_seconds:.2f}")
    print(f"goal of {GOAL_S} s: {'met' if seconds < GOAL_S else 'MISSED'}")


if __name__ == "__main__":
    main()
