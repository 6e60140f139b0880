"""`demo` as a newcomer runs it: to its end, once more, and interrupted in the middle."""

import contextlib
import signal

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.studies import list_studies
from tests.integration.program import Finished, Program, finish, wait_for

CATEGORIES = ("brick", "grass", "gravel")
QUICK = "demo_quick/grass"
LIMIT_S = 900.0
pytestmark = pytest.mark.slow


def count_complete(program: Program, prefix: str) -> int:
    """Complete trials of the searches whose names begin so, without their siblings."""
    complete = 0
    for name in program.list_names():
        if name.startswith(prefix) and "#" not in name:
            with contextlib.suppress(UsageError):  # `--fresh` may delete it between the two looks
                complete += program.usage(name).complete
    return complete


def assert_is_whole(program: Program, done: Finished) -> None:
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if "= v1.1" in line] == ["grass"]
    usage = program.usage(QUICK)
    assert usage.used == usage.complete + usage.pruned == program.record(QUICK).budget
    assert (usage.running, usage.held, usage.waiting) == (0, 0, 0)


def test_an_interrupted_demo_continues_and_ends_and_says_so(program: Program) -> None:
    process = program.start("demo", "--quick", "--fresh")
    wait_for(lambda: process.poll() is not None or count_complete(program, "demo_quick/") > 0, LIMIT_S)
    process.send_signal(signal.SIGINT)
    interrupted = finish(process)
    assert interrupted.returncode == 130, interrupted.stderr
    assert "`anomalyvfm-opt demo --quick` continues" in interrupted.stderr
    assert "Traceback" not in interrupted.stderr
    assert 0 < count_complete(program, "demo_quick/") < program.record(QUICK).budget
    assert program.usage(QUICK).running == 0

    assert_is_whole(program, finish(program.start("demo", "--quick"), LIMIT_S))
    again = program.run("demo", "--quick")
    assert "the demo is finished; `anomalyvfm-opt demo --quick --fresh` starts anew" in again.stderr
    assert_is_whole(program, again)


def find_ids(program: Program) -> set[int]:
    """The ids of the demo's three searches, as many as are there."""
    names = {f"demo/{category}" for category in CATEGORIES}
    return {study.study_id for study in list_studies(program.store.engine) if study.name in names}


def begin_anew(program: Program) -> set[int]:
    """Start with fresh studies of all three categories, and stop when a first trial is complete; their ids."""
    before = find_ids(program)
    process = program.start("demo", "--fresh")

    def has_begun() -> bool:
        ids = find_ids(program)
        return len(ids) == len(CATEGORIES) and not ids & before and count_complete(program, "demo/") > 0

    wait_for(lambda: process.poll() is not None or has_begun(), LIMIT_S)
    process.send_signal(signal.SIGTERM)
    assert finish(process).returncode == 143
    return find_ids(program)


def test_fresh_starts_anew(program: Program) -> None:
    before, after = begin_anew(program), begin_anew(program)
    assert len(before) == len(after) == len(CATEGORIES)
    assert min(after) > max(before)
