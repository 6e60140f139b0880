"""CPU seconds of commands that only read, against a program that imports Typer, SQLAlchemy and pydantic alone.

The store is that of ANOMALYVFM_OPT_HOME or ANOMALYVFM_OPT_DB_URL: python benchmarks/startup.py [STUDY]
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

HELP_GOAL_S, GOAL_S = 0.3, 0.6
REPEATS = 5
STUDIES = Path(__file__).parents[1] / "studies"
PLAIN = "import typer, sqlalchemy, pydantic"
COMMANDS = (
    ("--help",),
    ("study", "list"),
    ("worker", "list"),
    ("forecast", "list"),
    ("db", "url"),
    ("spec", "check", str(STUDIES / "demo.yaml")),
    ("spec", "schema", "-"),
)
OF_A_STUDY = (("study", "show"), ("verdict",))


def measure(*command: str) -> float:
    """CPU seconds of one run, in user and system mode."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    chosen = sys.argv[1:2]
    commands = (*COMMANDS, *((*command, *chosen) for command in OF_A_STUDY if chosen))
    program = (sys.executable, "-m", "anomalyvfm_opt")
    print(f"CPU seconds (medians of {REPEATS} in turns with the plain program)")
    for command in commands:
        measure(*program, *command)  # the first run reads the files from the disk
        pairs = [(measure(*program, *command), measure(sys.executable, "-c", PLAIN)) for _ in range(REPEATS)]
        seconds, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
        goal = HELP_GOAL_S if command == ("--help",) else GOAL_S
        name = " ".join(Path(part).name for part in command)
        verdict = "met" if seconds <= goal else "MISSED"
        print(f"{name:28} {seconds:.2f}  plain {plain:.2f}  ratio {seconds / plain:.2f}  goal {goal}: {verdict}")


if __name__ == "__main__":
    main()
