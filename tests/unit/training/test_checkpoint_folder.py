"""Checkpoints on a disk that fills up, or is written to by two processes."""

import errno
import os
import threading
import time
from dataclasses import asdict, replace

import pytest

from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.training.checkpoint_folder import CheckpointFolder, KeptCheckpoints
from anomalyvfm_opt.training.resume import NoCheckpoints, TrialInputs
from anomalyvfm_opt.training.state import TrainingState
from tests.unit.training.checkpoints import (
    INPUTS,
    assert_equal,
    list_files,
    make,
)


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
