"""A trial that was interrupted goes on, here or elsewhere, and ends with the numbers of one that was not."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.data.split import divide
from anomalyvfm_opt.errors import DivergedError
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.training.checkpoint_folder import CheckpointFolder
from anomalyvfm_opt.training.resume import Checkpoints
from anomalyvfm_opt.trial.outcome import InterruptedTrialError, PrunedTrialError
from anomalyvfm_opt.trial.result import TrialRequest, TrialResult
from anomalyvfm_opt.worker.device import limit_threads
from tests.integration.program import CATEGORY, Program, finish, make_tiny, wait_for
from tests.integration.test_cli_workbench import Silence, are_equal, make_parameters, run

PARAMETERS = make_parameters(adapter="adalora", rank=4, dropout=0.2, epochs=4)
STEPS = 2  # an epoch, in the tiny spec


class Interruption(Silence):
    """Stops a trial, and notes what it reported.

    Args:
        at_report: when this epoch is reported.
        at_step: before this optimiser step, counted from 0.
    """

    def __init__(self, at_report: int | None = None, at_step: int | None = None) -> None:
        self.at_report, self.at_step = at_report, at_step
        self.steps = 0
        self.resumed: int | None = None
        self.reported: list[tuple[int, float]] = []

    def check(self) -> None:
        pass

    def begin_step(self) -> None:
        if self.steps == self.at_step:
            self.stop()
        self.steps += 1

    def resume(self, epoch: int) -> None:
        self.resumed = epoch

    def finish_epoch(self, epoch: int, loss: float) -> None:
        pass

    def report(self, epoch: int, value: float) -> None:
        if epoch == self.at_report:
            self.stop()
        self.reported.append((epoch, value))

    def stop(self) -> None:
        raise InterruptedTrialError(143)


class Kill(Interruption):
    def stop(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def open_bench(
    data: Path, cache: Path, checkpoints: Checkpoints | None, network: Backbone | None = None
) -> Workbench:
    spec = Spec.model_validate(make_tiny("workbench"))
    split = divide(read_category(data, CATEGORY), spec.data.lock)
    backbone = network or load_backbone(spec, torch.device("cpu"))
    return Workbench(spec, split, "resume", backbone, ArrayStore(cache), checkpoints)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(Spec.model_validate(make_tiny("workbench")), torch.device("cpu"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def whole(program: Program, cache: Path, backbone: Backbone) -> tuple[TrialResult, list[tuple[int, float]]]:
    """The trial without an interruption, and what it reported."""
    progress = Interruption()
    with threadpool_limits(1):
        result = run_trial(
            open_bench(program.data, cache, None, backbone),
            TrialRequest(number=0, parameters=PARAMETERS, seed=7),
            progress,
        )
    return result, progress.reported


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "checkpoints")


@pytest.fixture
def bench(program: Program, cache: Path, backbone: Backbone, folder: CheckpointFolder) -> Workbench:
    return open_bench(program.data, cache, folder, backbone)


def interrupt(bench: Workbench, progress: Interruption) -> None:
    with threadpool_limits(1), pytest.raises(InterruptedTrialError):
        run_trial(bench, TrialRequest(number=0, parameters=PARAMETERS, seed=7), progress)


@pytest.mark.parametrize(
    ("interruption", "epoch"),
    [
        (Interruption(at_report=1), None),  # nothing was kept yet
        (Interruption(at_step=STEPS), 1),
        (Interruption(at_step=3 * STEPS - 1), 2),
        (Interruption(at_report=4), 3),
    ],
)
def test_an_interrupted_trial_ends_with_the_same_numbers(
    bench: Workbench,
    folder: CheckpointFolder,
    whole: tuple[TrialResult, list[tuple[int, float]]],
    interruption: Interruption,
    epoch: int | None,
) -> None:
    interrupt(bench, interruption)
    progress = Interruption()
    with threadpool_limits(1):
        result = run_trial(
            bench, TrialRequest(number=5, parameters=PARAMETERS, seed=7), progress
        )  # a retry is another trial to the study
    assert are_equal(result, whole[0])
    assert progress.reported == whole[1]
    assert progress.resumed == epoch
    assert progress.steps == (PARAMETERS.epochs - (epoch or 0)) * STEPS
    for name in ("epoch_losses", "final_ranks", "scorer", "objectives"):
        assert result.attributes[name] == whole[0].attributes[name]
    assert result.artifacts == whole[0].artifacts
    assert result.artifacts.keys() == {"detector"}
    if epoch is None:
        assert "resumed_from_epoch" not in result.attributes
    else:
        assert result.attributes["resumed_from_epoch"] == [epoch]
        assert [part["from_epoch"] for part in result.attributes["parts"]] == [0, epoch]
        assert result.attributes["parts"][0]["device"] == result.attributes["device"]
        json.dumps(result.attributes)  # which Optuna has to store
    assert len(list(folder.root.iterdir())) == 1  # until the study has it
    result.discard()
    assert list(folder.root.iterdir()) == []


def test_a_trial_that_is_interrupted_after_its_last_epoch_is_only_scored_again(
    bench: Workbench, whole: tuple[TrialResult, list[tuple[int, float]]]
) -> None:
    """As when the database is away when the trial is to be told."""
    with threadpool_limits(1):
        run(bench, PARAMETERS, 7)
        progress = Interruption()
        result = run_trial(bench, TrialRequest(number=5, parameters=PARAMETERS, seed=7), progress)
    assert are_equal(result, whole[0])
    assert (progress.reported, progress.steps) == (whole[1], 0)
    assert result.attributes["resumed_from_epoch"] == [4]
    assert result.attributes["seconds"] > 0


def test_two_interruptions_are_both_told_and_their_seconds_count(bench: Workbench) -> None:
    interrupt(bench, Interruption(at_step=STEPS))
    interrupt(bench, Interruption(at_step=STEPS))
    with threadpool_limits(1):
        result = run(bench, PARAMETERS, 7)
    assert result.attributes["resumed_from_epoch"] == [1, 2]


def test_other_seeds_and_parameters_begin_from_the_start(bench: Workbench) -> None:
    interrupt(bench, Interruption(at_step=STEPS))
    with threadpool_limits(1):
        for parameters, seed in ((PARAMETERS, 8), (replace(PARAMETERS, epochs=2), 7)):
            assert "resumed_from_epoch" not in run(bench, parameters, seed).attributes


def test_a_full_disk_costs_no_trial(
    bench: Workbench,
    folder: CheckpointFolder,
    whole: tuple[TrialResult, list[tuple[int, float]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder.root.write_text("a file in the way")
    with threadpool_limits(1):
        assert are_equal(run(bench, PARAMETERS, 7), whole[0])
    assert sum("cannot write a checkpoint" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(
    "error", [DivergedError("loss nan"), PrunedTrialError(2, 0.5)], ids=["ran away", "pruned"]
)
def test_a_trial_that_has_no_retry_leaves_no_checkpoint(
    bench: Workbench, folder: CheckpointFolder, error: Exception
) -> None:
    class End(Interruption):
        def stop(self) -> None:
            raise error

    with threadpool_limits(1), pytest.raises(type(error)):
        run_trial(bench, TrialRequest(number=0, parameters=PARAMETERS, seed=7), End(at_report=2))
    assert list(folder.root.iterdir()) == []


def test_the_frozen_detector_has_neither_checkpoint_nor_file(bench: Workbench, folder: CheckpointFolder) -> None:
    result = run(bench, None, 7)
    result.discard()
    assert result.artifacts == {}
    assert not folder.root.exists()


def main(data: Path, cache: Path, checkpoints: Path, at_step: int) -> None:
    """Run the trial; a step below 0 is never reached, and then what came of it is printed."""
    limit_threads(1)
    bench = open_bench(data, cache, CheckpointFolder(checkpoints))
    result = run_trial(bench, TrialRequest(number=0, parameters=PARAMETERS, seed=7), Kill(at_step=at_step))
    answer: dict[str, Any] = {
        "scores": {name: [float(score) for score in scores] for name, scores in result.scores.items()},
        "losses": result.attributes["epoch_losses"],
        "resumed": result.attributes["resumed_from_epoch"],
    }
    print(json.dumps(answer))


@pytest.mark.slow
def test_a_trial_whose_process_was_killed_ends_the_same_in_another(
    program: Program,
    cache: Path,
    folder: CheckpointFolder,
    whole: tuple[TrialResult, list[tuple[int, float]]],
) -> None:
    def start(at_step: int) -> Any:
        arguments = [str(program.data), str(cache), str(folder.root), str(at_step)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.test_resume", *arguments],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return finish(process)

    assert start(3 * STEPS + 1).returncode == -signal.SIGKILL
    done = start(-1)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["resumed"] == [3]
    assert answer["losses"] == whole[0].attributes["epoch_losses"]
    for name, scores in whole[0].scores.items():
        assert answer["scores"][name] == [float(score) for score in scores]


@pytest.mark.slow
def test_a_worker_takes_up_what_another_was_stopped_at(program: Program, tmp_path: Path) -> None:
    epochs = {"low": 40, "high": 40}
    space = {"adapter": ["lora"], "rank": [4], "epochs": epochs, "synthesis_count": {"low": 8, "high": 8}}
    name = program.create_here("resumed", references=[], search={"trials": 1, "startup_trials": 1, "space": space})
    shared = {"ANOMALYVFM_OPT_ARTIFACTS": str(tmp_path / "shared")}
    worker = program.start("worker", "run", "--study", name, "--threads", "1", **shared)
    wait_for(lambda: len(list((tmp_path / "shared").glob("checkpoints/*/checkpoint.json"))) == 1)
    worker.send_signal(signal.SIGTERM)
    assert finish(worker).returncode == 143
    done = program.run_here("worker", "run", "--study", name, "--threads", "1", **shared)
    assert done.returncode == 0, done.stderr
    first, retry = program.trials(name)
    (epoch,) = retry.user_attrs["resumed_from_epoch"]
    assert 1 <= epoch < 40
    assert sorted(retry.intermediate_values) == list(range(1, 41))
    assert retry.intermediate_values | first.intermediate_values == retry.intermediate_values
    assert list((tmp_path / "shared" / "checkpoints").iterdir()) == []


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
