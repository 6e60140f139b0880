"""How far trials are, as workers and the commands that read tell it, and in which order they run."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from anomalyvfm_opt.cli.tables import print_grid
from anomalyvfm_opt.report.results_text import describe_study
from anomalyvfm_opt.report.summary import summarise
from anomalyvfm_opt.report.trial_view import view_trials
from anomalyvfm_opt.store.workers import WorkerIdentity, list_workers, register_worker
from anomalyvfm_opt.trial.loop import TrialLoop, WorkerContext
from anomalyvfm_opt.trial.progress import Underway
from anomalyvfm_opt.trial.pulse import Pulse, StopRequest
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.worker.standing import read_standing
from tests.integration.conftest import NO_FILES, TIMES, Bench, run_quickly, stay
from tests.integration.program import Program


def test_a_worker_says_what_it_runs_how_it_stands_and_what_comes_next(program: Program) -> None:
    name = program.create_here("told", search={"trials": 3}, references=["frozen", "v1.1"])
    done = program.run_here("worker", "run", "--study", name, "--threads", "1")
    assert done.returncode == 0, done.stderr
    ends = [line for line in done.stderr.splitlines() if " completed 0." in line]
    left = [line.split("; ")[-1].split(" trials left")[0] for line in ends]
    assert left == ["2 of 3", "1 of 3", "0 of 3"]
    assert "; best 0." in ends[0]
    assert ", v1.1 0." in ends[2]
    assert done.stderr.splitlines()[-1] == f"next: anomalyvfm-opt confirm {name}"


def test_the_frozen_network_runs_first_and_replicates_last(program: Program) -> None:
    """Whatever a worker is called, and so wherever it begins its rounds."""
    name = program.create_here(
        "ordered", search={"trials": 3}, references=["frozen", "v1.1"], verdict={"noise_seeds": 3}
    )
    done = program.run_here("worker", "run", "--study", name, "--threads", "1", "--max-trials", "4")
    assert done.returncode == 0, done.stderr
    ran = [line.split(" completed")[0] for line in done.stderr.splitlines() if " completed 0." in line]
    assert ran == [f"{name} trial 0", f"{name} trial 1", f"{name} trial 2", f"{name}#replicates trial 0"]
    assert program.trials(name)[0].user_attrs["reference"] == "frozen"


def test_the_epoch_of_a_running_trial_is_known_wherever_it_is_shown(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    register_worker(bench.engine, WorkerIdentity("w1", "host", 1, "cpu", "0"), 60.0)
    seen: list[Underway] = []

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        if request.number == 1:
            progress.finish_epoch(1, 0.25)
            progress.report(1, 0.5)
            look()
        return run_quickly(replace(request, parameters=None), progress)  # which reports nothing more

    def look() -> None:
        (worker,) = [one for one in list_workers(bench.engine) if one.trial is not None]
        epochs = worker.epochs
        assert worker.at_work == f"tiny/tile 1, epoch 1/{epochs}"
        assert [view.state for view in view_trials(bench.store, bench.record)][1] == f"epoch 1/{epochs}"
        print_grid(describe_study(summarise(bench.store, bench.record), None))
        assert f"epoch 1/{epochs}, running on w1" in capsys.readouterr().out

    pulse = Pulse(bench.engine, "w1", TIMES, StopRequest(), die=lambda: None)
    context = WorkerContext(pulse, lambda _ended: None, NO_FILES, stay, seen.append)
    loop = TrialLoop(bench.study(), bench.engine, bench.record, lambda: run, context)
    loop.take_turn()
    loop.take_turn()
    told = [(one.number, one.what, one.epoch, one.loss) for one in seen]
    assert told[:2] == [(0, "reference frozen", 0, None), (1, "search", 0, None)]
    assert (1, "search", 1, 0.25) in told
    assert (seen[0].epochs, seen[1].epochs) == (0, bench.study().get_trials()[1].params["epochs"])
    assert all(worker.at_work == "" for worker in list_workers(bench.engine))


def test_the_time_left_is_that_of_the_trials_that_are_over(bench: Bench) -> None:
    assert read_standing(bench.engine, bench.record).left_s is None
    loop = bench.loop()
    for _ in range(3):
        loop.take_turn()
    set_times = text(
        "UPDATE trials SET datetime_complete = datetime_start + make_interval(secs => 30) WHERE state = 'COMPLETE'"
    )
    with bench.engine.begin() as connection:
        connection.execute(set_times)
    standing = read_standing(bench.engine, bench.record)
    assert standing.left == standing.budget - 3
    assert standing.left_s == pytest.approx(30.0 * standing.left)
    assert standing.best == max(trial.value for trial in bench.study().get_trials() if trial.value is not None)
    assert (standing.baseline, standing.baseline_value) == ("frozen", bench.study().get_trials()[0].value)
