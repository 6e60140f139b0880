"""Several processes at the same outputs, and some that are killed: each output once, and no half of one."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from anomalyvfm_opt.model.prefix import Prefix
from tests.unit.model.prefixes import SMALL, draw_images, list_files, open_backbone, open_store

COUNT, GROUP = 96, 16
BLOCKS = 4  # with an output that is read on the way
FILES = 2 * COUNT
# Fills the store with the images in groups, from the given one on, as soon as it is told to; says what it did.
FILL = """
import json, sys, time
from pathlib import Path
from anomalyvfm_opt.data import sealed
from anomalyvfm_opt.model import prefix_store
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.prefix import Prefix
from tests.unit.model.prefixes import SMALL, draw_images, open_backbone, open_store

folder, first, count, group, blocks, fault = Path(sys.argv[1]), *map(int, sys.argv[2:6]), sys.argv[6]
backbone, images = open_backbone(*SMALL), draw_images(count, SMALL[1])
prefix, ran, run_blocks = Prefix(backbone, blocks, open_store(folder)), 0, Backbone.run_blocks

def run_slowly(*arguments):
    global ran
    ran += 1
    time.sleep(0.02)
    return run_blocks(*arguments)

def write_half(part, array, name):
    sealed.write_sealed(part, array, name)
    content = part.read_bytes()
    part.write_bytes(content[: len(content) // 2])
    print("half-way", flush=True)
    time.sleep(600)

Backbone.run_blocks = run_slowly
if fault == "half-way":
    prefix_store.write_sealed = write_half
print("ready", flush=True)
sys.stdin.readline()
starts = list(range(0, count, group))
for start in starts[first:] + starts[:first]:
    prefix.outputs(images[start : start + group], keep=True)
    print("group", flush=True)
print(json.dumps({"batches": ran, **prefix.describe()}))
"""


@contextmanager
def started(folder: Path, first: int = 0, fault: str = "") -> Iterator["subprocess.Popen[str]"]:
    """A process that is ready to fill the store of a folder."""
    arguments = [str(folder), *(str(number) for number in (first, COUNT, GROUP, BLOCKS)), fault]
    with subprocess.Popen(
        [sys.executable, "-c", FILL, *arguments],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def hear(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        assert hear(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def assert_outputs_are_right(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All that lies there is whole, and what does not lie there can be computed: nobody holds a lock."""
    backbone, images = open_backbone(*SMALL), draw_images(COUNT, SMALL[1])
    expected = Prefix(backbone, BLOCKS, None).outputs(images, keep=True)
    prefix, there = Prefix(backbone, BLOCKS, open_store(folder)), len(list_files(open_store(folder)))
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        outputs = prefix.outputs(images, keep=True)
    assert time.monotonic() - began < 30  # half of what a lock is waited for
    assert all(torch.equal(outputs[end], expected[end]) for end in expected)
    assert caplog.messages == []
    assert prefix.read >= there // 2 - 1
    assert len(list_files(open_store(folder))) == FILES


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 3], ids=["in step", "from other places"])
def test_two_processes_compute_each_output_once(
    tmp_path: Path, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    with started(tmp_path) as one, started(tmp_path, first) as other:
        go(one, other)
        answers = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in (one, other)]
    assert sum(answer["computed"] for answer in answers) == COUNT
    assert [answer["read"] + answer["computed"] for answer in answers] == [COUNT, COUNT]
    assert [answer["store"] for answer in answers] == ["kept", "kept"]
    assert len(list_files(open_store(tmp_path))) == FILES
    assert_outputs_are_right(tmp_path, caplog)


def test_a_process_that_is_killed_while_it_writes_leaves_no_half_file_and_no_lock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with started(tmp_path, fault="half-way") as process:
        go(process)
        assert hear(process) == "half-way"
        process.kill()
        process.wait()
    assert [path.suffix for path in tmp_path.rglob("*.part")] == [".part"]
    assert list_files(open_store(tmp_path)) == []
    assert_outputs_are_right(tmp_path, caplog)


def test_processes_that_are_killed_at_any_moment_leave_what_is_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts = []
    for groups in (1, 2, 3):
        with started(tmp_path) as process:
            go(process)
            for _ in range(groups):
                assert hear(process) == "group"
            time.sleep(0.01 * groups)
            process.kill()
            process.wait()
        counts.append(len(list_files(open_store(tmp_path))))
    assert counts == sorted(counts)
    assert counts[0] >= 2 * GROUP
    assert_outputs_are_right(tmp_path, caplog)


def test_a_process_that_is_killed_does_not_hold_up_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with started(tmp_path, fault="half-way") as hung, started(tmp_path) as other:
        go(hung)
        assert hear(hung) == "half-way"
        go(other)
        time.sleep(0.5)  # in which the other one comes to wait
        began = time.monotonic()
        hung.kill()
        answer = json.loads(other.communicate(timeout=120)[0].splitlines()[-1])
        assert time.monotonic() - began < 30
    assert answer["computed"] == COUNT
    assert_outputs_are_right(tmp_path, caplog)
