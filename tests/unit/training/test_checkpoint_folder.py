"""Checkpoints on a disk that fills up, is damaged, or is written to by two processes."""

import errno
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.training.checkpoint_folder import CheckpointFolder, KeptCheckpoints
from anomalyvfm_opt.training.finetune import finetune
from anomalyvfm_opt.training.resume import Checkpoint, NoCheckpoints, TrialInputs
from anomalyvfm_opt.training.state import TrainingState
from tests.unit.training.detectors import draw_images, plan

_LAYERS = {"targets": "attention", "adapted_blocks": "all"}
SETTINGS = AdapterSettings(kind="adalora", rank=2, alpha=4.0, dropout=0.2, **_LAYERS)
SCHEDULE = plan(epochs=3, steps_per_epoch=2)
PARAMETERS = reference_parameters("v1.1", "can", 64)
assert PARAMETERS is not None
_HASHES = {"spec_sha256": "spec", "split_sha256": "split", "weights_sha256": "weights"}
INPUTS = TrialInputs(**_HASHES, parameters=PARAMETERS, seed=2**63 - 25, is_size_searched=False)
PARTS = ({"from_epoch": 0, "device": "cpu (x86_64)", "versions": {"torch": "2"}},)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone("test_vit.r160_in1k", "random", (0, 1), None, 64)


@pytest.fixture(scope="module")
def states(backbone: Backbone) -> list[TrainingState]:
    kept: list[TrainingState] = []
    with build_detector(backbone, SETTINGS, 1, SCHEDULE.steps) as detector:
        finetune(detector, draw_images(64), SCHEDULE, lambda *_: None, keep=kept.append)
    return kept


@pytest.fixture
def detector(backbone: Backbone) -> Iterator[Detector]:
    with build_detector(backbone, SETTINGS, 1, SCHEDULE.steps) as fresh:
        yield fresh


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "artifacts" / "checkpoints")


@pytest.fixture
def trial(folder: CheckpointFolder) -> KeptCheckpoints:
    return folder.for_trial(INPUTS)


def make(state: TrainingState) -> Checkpoint:
    values = {epoch: 0.1 * epoch + 1e-9 for epoch in range(1, state.epoch + 1)}
    return Checkpoint(state=state, values=values, seconds=1.25 * state.epoch, scoring_batch=32, parts=PARTS)


def assert_equal(one: Checkpoint | None, other: Checkpoint) -> None:
    assert one is not None
    assert one.state.tensors.keys() == other.state.tensors.keys()
    assert all(torch.equal(t, other.state.tensors[name]) for name, t in one.state.tensors.items())
    assert replace(one, state=replace(one.state, tensors={})) == replace(
        other, state=replace(other.state, tensors={})
    )


def list_files(trial: KeptCheckpoints) -> list[str]:
    return sorted(path.name.split("-")[0] for path in trial.folder.iterdir())


def test_the_newest_checkpoint_is_read_as_it_was_written(
    trial: KeptCheckpoints, states: list[TrainingState], detector: Detector
) -> None:
    assert trial.load(detector) is None
    for state in states:
        trial.save(make(state))
        assert list_files(trial) == ["checkpoint.json", "epoch"]
        assert_equal(trial.load(detector), make(state))


def test_a_trial_of_many_epochs_goes_on_as_well(
    trial: KeptCheckpoints, states: list[TrainingState], detector: Detector
) -> None:
    """Numbers and their texts are not in the same order from ten on."""
    for epoch in (9, 10, 100):
        checkpoint = make(replace(states[-1], epoch=epoch))
        trial.save(checkpoint)
        assert_equal(trial.load(detector), checkpoint)


def test_whoever_has_the_inputs_finds_it(
    folder: CheckpointFolder, trial: KeptCheckpoints, states: list[TrainingState], detector: Detector
) -> None:
    trial.save(make(states[0]))
    again = TrialInputs(**{**asdict(INPUTS), "parameters": replace(INPUTS.parameters)})
    assert_equal(CheckpointFolder(folder.root).for_trial(again).load(detector), make(states[0]))
    others = [
        replace(INPUTS, spec_sha256="other"),
        replace(INPUTS, split_sha256="other"),
        replace(INPUTS, weights_sha256="other"),
        replace(INPUTS, seed=1),
        replace(INPUTS, parameters=replace(INPUTS.parameters, learning_rate=1.1e-4)),
    ]
    assert len({inputs.key for inputs in (INPUTS, *others)}) == 6
    assert all(folder.for_trial(inputs).load(detector) is None for inputs in others)


def test_a_trial_that_an_older_version_began_is_found_by_the_same_key() -> None:
    """Where the size is not searched, no parameters had one; where it is, all of them had."""
    assert INPUTS.key == "7976bd1b74e6af4519ce73afce72e0581770c43f93ec6529826603ff8c3a0be8"
    searched = replace(INPUTS, is_size_searched=True)
    assert searched.key == "10140b222bbc406276e57d43215fc71dcd6cee2d7f04de0cfa61ca1e0c82be3a"


def test_nothing_is_left_of_a_trial_that_has_ended(
    folder: CheckpointFolder, trial: KeptCheckpoints, states: list[TrainingState], detector: Detector
) -> None:
    trial.discard()  # before there is anything
    trial.save(make(states[0]))
    trial.discard()
    assert list(folder.root.iterdir()) == []
    assert trial.load(detector) is None


def record_of(trial: KeptCheckpoints) -> Path:
    return trial.folder / "checkpoint.json"


def tensors_of(trial: KeptCheckpoints) -> Path:
    return next(trial.folder.glob("*.safetensors"))


def flip(path: Path, position: int = -9) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def put_foreign(trial: KeptCheckpoints) -> None:
    """As if a folder had been copied under another trial's name."""
    found = trial._read()
    assert found is not None
    KeptCheckpoints(trial.folder, replace(INPUTS, seed=2)).save(found)


DAMAGE: dict[str, tuple[Callable[[KeptCheckpoints], object], str]] = {
    "tensors cut short": (lambda t: os.truncate(tensors_of(t), 1000), "safetensors is damaged"),
    "a bit of the tensors": (lambda t: flip(tensors_of(t)), "safetensors is damaged"),
    "no tensors": (lambda t: tensors_of(t).unlink(), "safetensors is missing"),
    "record cut short": (lambda t: os.truncate(record_of(t), 200), r"checkpoint\.json is damaged"),
    "empty record": (lambda t: os.truncate(record_of(t), 0), r"checkpoint\.json is damaged"),
    "a bit of the record": (lambda t: flip(record_of(t), 60), r"checkpoint\.json is damaged"),
    "another record": (lambda t: record_of(t).write_text("[1]"), r"checkpoint\.json is damaged"),
    "another trial": (put_foreign, "of another trial"),
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
    trial: KeptCheckpoints, states: list[TrainingState], backbone: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    trial.save(make(states[0]))
    with build_detector(backbone, replace(SETTINGS, rank=4), 1, SCHEDULE.steps) as other:
        assert trial.load(other) is None
    assert "another detector" in caplog.text


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
@pytest.mark.parametrize("call", range(1, 5))
def test_a_full_disk_leaves_a_checkpoint_that_can_be_used(
    trial: KeptCheckpoints,
    states: list[TrainingState],
    detector: Detector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
    call: int,
) -> None:
    """The disk refuses the n-th call of a step, and all after it, of two checkpoints in a row."""
    trial.save(make(states[0]))
    calls: list[object] = []
    real = getattr(os, step.removeprefix("os."))

    def refuse(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) >= call:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as full:
        full.setattr(step, refuse)
        trial.save(make(states[1]))
        trial.save(make(states[2]))
    said = [message for message in caplog.messages if "cannot write a checkpoint" in message]
    assert len(said) == 1  # once a trial
    assert "No space left on device; the trial goes on" in said[0]
    found = trial.load(detector)
    assert found is not None
    assert_equal(found, make(states[found.state.epoch - 1]))
    assert [path for path in trial.folder.iterdir() if path.name.endswith(".part")] == []
    trial.save(make(states[2]))  # there is room again
    assert_equal(trial.load(detector), make(states[2]))


def test_a_place_that_cannot_be_written_to_is_said_once(
    folder: CheckpointFolder, trial: KeptCheckpoints, states: list[TrainingState], caplog: pytest.LogCaptureFixture
) -> None:
    folder.root.parent.mkdir()
    folder.root.write_text("a file in the way")
    for state in states:
        trial.save(make(state))
    trial.discard()
    assert len(caplog.messages) == 2
    assert "point ANOMALYVFM_OPT_ARTIFACTS at another disk" in caplog.messages[0]
    assert caplog.messages[1].startswith("cannot remove the checkpoint")


def test_every_state_can_be_read_while_two_processes_write(
    folder: CheckpointFolder, trial: KeptCheckpoints, states: list[TrainingState], detector: Detector
) -> None:
    """A worker that does not know yet that it lost the trial writes between the states of its successor."""
    small = [replace(state, tensors=dict(list(state.tensors.items())[:3])) for state in states]
    trial.save(make(small[0]))
    stop = threading.Event()

    def write() -> None:
        mine = folder.for_trial(INPUTS)
        while not stop.is_set():
            for state in small:
                mine.save(make(state))

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(150):
            found = trial._read()
            assert found is not None
            assert_equal(found, make(small[found.state.epoch - 1]))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_sweep_removes_what_nobody_has_touched_for_a_month(
    folder: CheckpointFolder, states: list[TrainingState], detector: Detector
) -> None:
    assert folder.sweep() == 0  # there is no folder yet
    trials = [folder.for_trial(replace(INPUTS, seed=seed)) for seed in range(3)]
    for trial, days in zip(trials, (29, 31, 31), strict=True):
        trial.save(make(states[0]))
        then = time.time() - days * 24 * 3600
        for path in (*trial.folder.iterdir(), trial.folder):
            os.utime(path, (then, then))
    trials[2].save(make(states[1]))
    assert folder.sweep() == 1
    assert [trial.load(detector) is not None for trial in trials] == [True, False, True]


def test_without_checkpoints_every_trial_begins_from_the_start(
    states: list[TrainingState], detector: Detector
) -> None:
    nothing = NoCheckpoints().for_trial(INPUTS)
    nothing.save(make(states[0]))
    assert nothing.load(detector) is None
    nothing.discard()
