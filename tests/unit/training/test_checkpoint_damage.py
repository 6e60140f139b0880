"""A checkpoint that is damaged, of another trial or not ours: its trial begins from the start."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.training.checkpoint_files import seal
from anomalyvfm_opt.training.checkpoint_folder import KeptCheckpoints
from anomalyvfm_opt.training.state import TrainingState
from tests.unit.training.checkpoints import (
    INPUTS,
    SCHEDULE,
    SETTINGS,
    assert_equal,
    make,
    record_of,
    tensors_of,
)


def flip(path: Path, position: int = -9) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def put_foreign(trial: KeptCheckpoints) -> None:
    """As if a folder had been copied under another trial's name."""
    found = trial._read()
    assert found is not None
    KeptCheckpoints(trial.folder, replace(INPUTS, seed=2)).save(found)


def rewrite(**changes: object) -> Callable[[KeptCheckpoints], object]:
    """Change a record and seal it again, as whoever wrote it would; dots in a name lead further down."""

    def do(trial: KeptCheckpoints) -> None:
        record = json.loads(record_of(trial).read_bytes())
        for name, value in changes.items():
            *parents, last = name.split("__")
            place = record
            for parent in parents:
                place = place[parent]
            place[last] = value
        record_of(trial).write_bytes(seal(record))

    return do


def replace_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[KeptCheckpoints], object]:
    """Change tensors, with a hash that fits them."""

    def do(trial: KeptCheckpoints) -> None:
        tensors = load(tensors_of(trial).read_bytes())
        change(tensors)
        content = save(tensors)
        tensors_of(trial).write_bytes(content)
        rewrite(tensors__sha256=hashlib.sha256(content).hexdigest())(trial)

    return do


def write_no_tensors(trial: KeptCheckpoints) -> None:
    tensors_of(trial).write_bytes(b"no tensors")
    rewrite(tensors__sha256=hashlib.sha256(b"no tensors").hexdigest())(trial)


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def first(tensors: dict[str, torch.Tensor], prefix: str) -> str:
    return min(name for name in tensors if name.startswith(prefix))


DAMAGE: dict[str, tuple[Callable[[KeptCheckpoints], object], str]] = {
    "tensors cut short": (lambda t: os.truncate(tensors_of(t), 1000), "safetensors is damaged"),
    "a bit of the tensors": (lambda t: flip(tensors_of(t)), "safetensors is damaged"),
    "no tensors": (lambda t: tensors_of(t).unlink(), "safetensors is missing"),
    "record cut short": (lambda t: os.truncate(record_of(t), 200), r"checkpoint\.json is damaged"),
    "empty record": (lambda t: os.truncate(record_of(t), 0), r"checkpoint\.json is damaged"),
    "a bit of the record": (lambda t: flip(record_of(t), 60), r"checkpoint\.json is damaged"),
    "another record": (lambda t: record_of(t).write_text("[1]"), r"checkpoint\.json is damaged"),
    "another trial": (put_foreign, "of another trial"),
    "deep record": (lambda t: record_of(t).write_text("[" * 100_000), r"checkpoint\.json is damaged"),
    "deep object": (lambda t: record_of(t).write_text('{"a":' * 100_000), r"checkpoint\.json is damaged"),
    "no text": (lambda t: record_of(t).write_bytes(bytes(range(128, 256))), r"checkpoint\.json is damaged"),
    "a huge record": (lambda t: os.truncate(record_of(t), 2**40), "larger than"),
    "tensors that are none": (write_no_tensors, r"checkpoint\.json is damaged"),
    "a name of elsewhere": (rewrite(tensors__file="../../notes.safetensors"), r"checkpoint\.json is damaged"),
    "no name": (rewrite(tensors__file=["a"]), r"checkpoint\.json is damaged"),
    "no state": (rewrite(state=None), r"checkpoint\.json is damaged"),
    "an epoch that is none": (rewrite(state__epoch="2"), r"checkpoint\.json is damaged"),
    "epoch zero": (rewrite(state__epoch=0), r"checkpoint\.json is damaged"),
    "no number for a loss": (rewrite(state__steps=["a"]), r"checkpoint\.json is damaged"),
    "a value that is not finite": (rewrite(values={"1": float("nan")}), r"checkpoint\.json is damaged"),
    "a value of a later epoch": (rewrite(values={"3": 0.5}), r"checkpoint\.json is damaged"),
    "no seconds": (rewrite(seconds=[]), r"checkpoint\.json is damaged"),
    "another identity": (rewrite(state__identity__adapter={"kind": 1}), r"checkpoint\.json is damaged"),
    "parts that are none": (rewrite(parts=[3]), r"checkpoint\.json is damaged"),
    "a parameter missing": (replace_tensors(lambda t: t.pop(first(t, "trained."))), "has another shape"),
    "a wrong shape": (
        replace_tensors(lambda t: t.update({first(t, "exp_avg."): torch.zeros(3, 3)})),
        "exp_avg of .* has another shape",
    ),
    "a moment missing": (replace_tensors(lambda t: t.pop(first(t, "exp_avg_sq."))), "exp_avg_sq of"),
    "a NaN": (replace_tensors(lambda t: t[first(t, "trained.")].view(-1)[0].fill_(torch.nan)), "not finite"),
    "importances of what is no parameter": (
        replace_tensors(lambda t: t.update({"allocation.ipt.nothing": torch.zeros(1)})),
        "importances of ranks do not fit",
    ),
    "dropout's state of another type": (
        replace_tensors(lambda t: t.update({"generator.0": t["generator.0"].float()})),
        "state of the dropout is damaged",
    ),
    "a number without end": (rewrite(seconds=10**400), r"checkpoint\.json is damaged"),
    "a pipe for the record": (lambda t: put_pipe(record_of(t)), "it is a named pipe"),
    "a pipe for the tensors": (lambda t: put_pipe(tensors_of(t)), "it is a named pipe"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_cannot_be_used_is_said_and_written_over(
    trial: KeptCheckpoints,
    states: list[TrainingState],
    detector: Detector,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    trial.save(make(states[1]))
    do, words = DAMAGE[damage]
    do(trial)
    assert trial.load(detector) is None
    (message,) = caplog.messages
    assert str(trial.folder) in message
    assert message.endswith("its trial begins from the start")
    assert re.search(words, message)
    trial.save(make(states[0]))
    assert_equal(trial.load(detector), make(states[0]))


def test_a_checkpoint_of_another_detector_is_not_used(
    trial: KeptCheckpoints, states: list[TrainingState], vit: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    trial.save(make(states[0]))
    with build_detector(vit, replace(SETTINGS, rank=4), 1, SCHEDULE.steps) as other:
        assert trial.load(other) is None
    assert "another detector" in caplog.text
