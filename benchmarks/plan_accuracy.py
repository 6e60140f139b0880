"""What `study plan` reckons for a study, against the time that the study then takes.

python benchmarks/plan_accuracy.py SPEC --data DIR --category C [--threads N]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def run(home: str, *arguments: str) -> str:
    """Run a command of the program on a state folder of its own; returns what it printed."""
    command = [sys.executable, "-m", "anomalyvfm_opt", *arguments]
    environment = {**os.environ, "ANOMALYVFM_OPT_HOME": home}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec")
    parser.add_argument("--data", required=True)
    parser.add_argument("--category", required=True)
    parser.add_argument("--threads", default="1")
    given = parser.parse_args()
    chosen = ("--data", given.data, "--category", given.category)
    with tempfile.TemporaryDirectory(prefix="anomalyvfm-opt-") as folder:
        Path(folder).chmod(0o711)  # for root the database runs as another user
        home = str(Path(folder) / "home")
        started = time.perf_counter()
        plan: dict[str, Any] = json.loads(
            run(home, "study", "plan", given.spec, *chosen, "--threads", given.threads, "--json")
        )
        plan_s = time.perf_counter() - started
        run(home, "study", "create", given.spec, *chosen)
        name = plan["studies"][0]["name"]
        started = time.perf_counter()
        run(home, "worker", "run", "--study", name, "--threads", given.threads)
        taken_s = time.perf_counter() - started
        run(home, "db", "down")
    total = plan["total"]["seconds"]
    print(f"{name}: {plan['studies'][0]['trials']} trials, --threads {given.threads}")
    print(f"the plan itself  {plan_s:8.0f} s")
    print(f"low - high       {total['low']:8.0f} - {total['high']:.0f} s")
    print(f"expected         {total['expected']:8.0f} s")
    print(f"taken            {taken_s:8.0f} s")
    print(f"ratio            {taken_s / total['expected']:8.2f}")


if __name__ == "__main__":
    main()
