"""Runs a command, and writes what it took into a file: seconds, CPU seconds, peak memory, exit code.

    python -S benchmarks/measured.py FILE COMMAND...

A process of its own, as small as Python goes: Linux counts to a process's peak what its parent had in memory when
it began, so that a command that is started by a benchmark of 200 MB seems to need 200 MB.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    _, file, *command = sys.argv
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    taken = {
        "wall_s": time.perf_counter() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "exit_code": process.returncode,
    }
    Path(file).write_text(json.dumps(taken))


if __name__ == "__main__":
    main()
