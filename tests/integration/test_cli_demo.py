"""`demo` as a newcomer runs it: to its end, once more, and interrupted in the middle."""

import contextlib
import signal

import pytest

from anomalyvfm_opt.errors import UsageError
from tests.integration.program import Finished, Program, finish, wait_for

CATEGORIES = ("brick", "grass", "gravel")
LIMIT_S = 900.0
pytestmark = pytest.mark.slow


def count_complete(program: Program) -> int:
    complete = 0
    for name in program.list_names():
        if name.startswith("demo/"):
            with contextlib.suppress(UsageError):  # `--fresh` may delete it between the two looks
                complete += program.usage(name).complete
    return complete


def assert_is_whole(program: Program, done: Finished) -> None:
    assert done.returncode == 0, done.stderr
    rows = [line.split()[0] for line in done.stdout.splitlines() if "= v1.1" in line]
    assert sorted(rows) == sorted(CATEGORIES)
    for category in CATEGORIES:
        usage = program.usage(f"demo/{category}")
        assert usage.used == usage.complete + usage.pruned == program.record(f"demo/{category}").budget
        assert (usage.running, usage.held, usage.waiting) == (0, 0, 0)


def test_an_interrupted_demo_continues_and_ends_and_says_so(program: Program) -> None:
    process = program.start("demo", "--fresh")
    wait_for(lambda: process.poll() is not None or count_complete(program) > 0, LIMIT_S)
    process.send_signal(signal.SIGINT)
    interrupted = finish(process)
    assert interrupted.returncode == 130, interrupted.stderr
    assert "`anomalyvfm-opt demo` continues" in interrupted.stderr
    assert "Traceback" not in interrupted.stderr
    complete = count_complete(program)
    assert 0 < complete < 3 * program.record("demo/brick").budget
    assert all(program.usage(f"demo/{category}").running == 0 for category in CATEGORIES)

    assert_is_whole(program, finish(program.start("demo"), LIMIT_S))
    again = program.run("demo")
    assert "the demo is finished" in again.stderr
    assert_is_whole(program, again)


def test_fresh_starts_anew(program: Program) -> None:
    before = {category: program.record(f"demo/{category}").study_id for category in CATEGORIES}
    process = program.start("demo", "--fresh")
    wait_for(lambda: process.poll() is not None or 0 < count_complete(program) < 6, LIMIT_S)
    process.send_signal(signal.SIGTERM)
    assert finish(process).returncode == 143
    assert all(program.record(f"demo/{category}").study_id > before[category] for category in CATEGORIES)
