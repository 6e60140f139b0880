"""Faults that hit a worker at a named point: a `sitecustomize` that Python runs before the program.

The product has no hooks for them. A worker that is started with `inject(...)` in its environment is hit where the
snippet says; each snippet counts its calls, so that the fault comes once, in the middle of the work.
"""

import os
from pathlib import Path

_KILL = """
import os, signal
def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""
_COUNT = """
calls = 0
def is_time(n):
    global calls
    calls += 1
    return calls == n
"""

# A point in a trial's life, and the code that kills the process there.
KILLS = {
    "after ticket": """
import anomalyvfm_opt.trial.trial_store as trial_store
take = trial_store.take_ticket
def take_and_die(*arguments):
    lease = take(*arguments)
    if lease is not None and is_time(2):
        die()
    return lease
trial_store.take_ticket = take_and_die
""",
    "after ask": """
import optuna
ask = optuna.Study.ask
def ask_and_die(study, *arguments, **options):
    trial = ask(study, *arguments, **options)
    if is_time(2):
        die()
    return trial
optuna.Study.ask = ask_and_die
""",
    "mid-epoch": """
import anomalyvfm_opt.training.finetune as finetune
step = finetune._accumulate_gradients
def step_or_die(*arguments, **options):
    if is_time(6):
        die()
    return step(*arguments, **options)
finetune._accumulate_gradients = step_or_die
""",
    "during checkpoint": """
import anomalyvfm_opt.training.checkpoint_folder as folder
write = folder.write_whole
def write_or_die(path, content):
    if path.name == "checkpoint.json" and is_time(2):
        die()
    write(path, content)
folder.write_whole = write_or_die
""",
    "during artifact write": """
import anomalyvfm_opt.durable as durable
rename = durable._rename
def rename_or_die(part, path):
    if "checkpoints" not in path.parts and len(path.name) == 64:
        die()
    rename(part, path)
durable._rename = rename_or_die
""",
    "before tell": """
import optuna
tell = optuna.Study.tell
def tell_or_die(*arguments, **options):
    if is_time(2):
        die()
    return tell(*arguments, **options)
optuna.Study.tell = tell_or_die
""",
    "after tell": """
import optuna
tell = optuna.Study.tell
def tell_and_die(*arguments, **options):
    tell(*arguments, **options)
    if is_time(2):
        die()
optuna.Study.tell = tell_and_die
""",
}

DISK_FULL = """
import errno
import anomalyvfm_opt.training.checkpoint_folder as folder
def refuse(path, content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
folder.write_whole = refuse
"""

HANG = """
import time
import anomalyvfm_opt.training.finetune as finetune
step = finetune._accumulate_gradients
def step_or_hang(*arguments, **options):
    if is_time(4):
        time.sleep(600)
    return step(*arguments, **options)
finetune._accumulate_gradients = step_or_hang
"""

# Python's own clocks, and with them Optuna's dates: an hour ahead.
CLOCK_AHEAD = """
import datetime, time
real, ahead = time.time, 3600.0
time.time = lambda: real() + ahead
class Ahead(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=ahead)
datetime.datetime = Ahead
"""


def inject(folder: Path, snippet: str) -> dict[str, str]:
    """The environment of a process that a fault is to hit."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_KILL + _COUNT + snippet)
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
