"""A GPU that breaks in the middle of a trial: the trial is given back, the worker ends with exit 3."""

import os
from pathlib import Path

import pytest
from optuna.trial import TrialState

from anomalyvfm_opt.errors import DeviceLostError
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.trial.reap import MAX_LOSSES
from anomalyvfm_opt.trial.settle import Ended
from tests.integration.conftest import Bench
from tests.integration.program import Program, assert_one_error
from tests.integration.trial_states import count_leases, fail_with, run_to_end, states

# No GPU is broken for this test: Python runs the file `sitecustomize` first, which has the detector say what torch
# says of a broken GPU, as soon as the trial trains.
_BREAK = """
from anomalyvfm_opt.model.detector import Detector
forward = Detector.forward
def break_down(detector, images, with_heads=True):
    if detector.training:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\\nCUDA kernel errors might")
    return forward(detector, images, with_heads)
Detector.forward = break_down
"""


@pytest.mark.slow
def test_a_worker_with_a_broken_gpu_ends_and_another_finishes_its_trial(program: Program, tmp_path: Path) -> None:
    study = program.create_here("broken", references=["v1.1"], search={"trials": 1})
    (tmp_path / "sitecustomize.py").write_text(_BREAK)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    work = ("worker", "run", "--study", study, "--threads", "1")
    error = assert_one_error(program.run(*work, PYTHONPATH=path), 3)
    assert "cpu is lost to this process: CUDA error: an illegal memory access was encountered" in error
    assert "start the worker again" in error
    usage = program.usage(study)
    assert (usage.used, usage.running, usage.held, usage.waiting) == (0, 0, 0, 1)

    done = program.run_here(*work)
    assert done.returncode == 0, done.stderr
    assert ", 1 thread\n" in done.stderr
    lost, complete = program.trials(study)
    assert (lost.state, complete.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert complete.user_attrs["retry_of"] == lost.number
    assert complete.user_attrs["training_seed"] == lost.user_attrs["training_seed"]


def test_a_trial_that_breaks_every_gpu_is_given_up(bench: Bench) -> None:
    """It may be the trial's own fault, as with a device-side assert: it must not end workers for ever."""
    ended: list[Ended] = []
    error = DeviceLostError("cuda:0 is lost to this process: CUDA error: device-side assert triggered")
    for _ in range(MAX_LOSSES):
        with pytest.raises(DeviceLostError):
            bench.loop(fail_with(error), ended=ended).take_turn()
    assert [e.outcome for e in ended] == [Outcome.LOST] * MAX_LOSSES
    assert states(bench) == ["FAIL"] * MAX_LOSSES
    assert count_leases(bench) == 0
    run_to_end(bench.loop())
    assert states(bench).count("COMPLETE") == 5
