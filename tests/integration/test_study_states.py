"""Studies that are paused, resumed and stopped, by people and by bugs."""

import pytest

from anomalyvfm_opt.errors import AnomalyVFMOptError
from anomalyvfm_opt.store.study_state import read_state, set_state
from anomalyvfm_opt.trial.loop import Turn
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.trial.settle import Ended
from tests.integration.conftest import Bench, run_quickly
from tests.integration.program import Program, assert_one_error, finish, wait_for
from tests.integration.trial_states import die_after_asking, fail_with, run_to_end, states


def test_a_paused_study_gives_no_ticket_until_it_is_resumed(bench: Bench) -> None:
    loop, study_id = bench.loop(), bench.record.study_id
    loop.take_turn()
    assert set_state(bench.engine, study_id, "paused")
    assert not set_state(bench.engine, study_id, "paused")
    assert [loop.take_turn() for _ in range(3)] == [Turn.PAUSED] * 3
    assert states(bench) == ["COMPLETE"]
    set_state(bench.engine, study_id, "active")
    run_to_end(loop)
    assert states(bench).count("COMPLETE") == 6


def test_the_running_trial_of_a_stopped_study_ends_and_no_other_begins(bench: Bench) -> None:
    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        set_state(bench.engine, bench.record.study_id, "stopped")
        return run_quickly(request, progress)

    loop = bench.loop(run)
    assert loop.take_turn() is Turn.RAN
    assert loop.take_turn() is Turn.DONE
    assert states(bench) == ["COMPLETE"]


def test_bugs_in_a_row_stop_the_study_whichever_workers_had_them(bench: Bench) -> None:
    ended: list[Ended] = []
    for worker in ("a", "b"):
        bench.loop(fail_with(ValueError("a bug")), worker, ended=ended).take_turn()
    with pytest.raises(AnomalyVFMOptError, match="failed one after the other"):
        bench.loop(fail_with(ValueError("a bug")), "c", ended=ended).take_turn()
    assert [end.outcome for end in ended] == [Outcome.BUG] * 3
    state = read_state(bench.engine, bench.record.study_id)
    assert state.name == "stopped"
    assert "ValueError('a bug')" in state.reason
    assert bench.loop(worker="d").take_turn() is Turn.DONE
    set_state(bench.engine, bench.record.study_id, "active")
    run_to_end(bench.loop(worker="d"))
    assert states(bench) == ["FAIL"] * 3 + ["COMPLETE"] * 3


def test_a_trial_that_ends_well_between_bugs_keeps_the_study_going(bench: Bench) -> None:
    for run in (fail_with(ValueError()), fail_with(ValueError()), run_quickly, fail_with(ValueError())):
        bench.loop(run).take_turn()
    assert read_state(bench.engine, bench.record.study_id).name == "active"


def test_the_commands(program: Program) -> None:
    study = program.create_here("pausable", references=["frozen"], search={"trials": 2})
    paused = program.run_here("study", "pause", study)
    assert paused.stderr == f"{study} is paused\n"
    assert "was paused already" in program.run_here("study", "pause", "pausable").stderr
    shown = program.run_json("study", "show", study)
    assert (shown["state"], shown["state_reason"]) == ("paused", "by study pause")
    assert assert_one_error(program.run_here("study", "stop", "nonsense"), 2).startswith("error: no study")

    worker = program.start("worker", "run", "--study", study, "--threads", "1", "--name", "patient")
    wait_for(lambda: "patient" in program.run_here("worker", "list").stdout)
    assert program.usage(study).used == 0
    assert "goes on" in program.run_here("study", "resume", study).stderr
    done = finish(worker)
    assert done.returncode == 0, done.stderr
    assert f"{study} is paused; waiting for: anomalyvfm-opt study resume {study}" in done.stderr
    assert program.usage(study).complete == 2
    assert program.run_json("study", "show", study)["state"] == "finished"


def test_a_running_trial_can_be_taken_back_at_once(bench: Bench, program: Program) -> None:
    die_after_asking(bench)
    url = bench.engine.url.render_as_string(hide_password=False)
    taken = program.run_here("study", "stop", "tiny/tile", "--now", "--db", url)
    assert "is stopped; its running trials (0) are taken back" in taken.stderr
    assert states(bench) == ["FAIL", "WAITING"]


def test_workers_are_listed_drained_and_reaped(program: Program) -> None:
    study = program.create_here(
        "drained", references=["v1.1"], training={"steps_per_epoch": 60}, search={"trials": 1}
    )
    worker = program.start("worker", "run", "--study", study, "--threads", "1", "--name", "crew-1")

    def is_running() -> bool:
        rows = program.run_here("worker", "list", "--json").stdout
        return '"state": "running"' in rows and study in rows

    wait_for(is_running)
    assert "crew-1" in program.run_here("worker", "list").stdout
    assert_one_error(program.run_here("worker", "drain", "nobody"), 2)
    assert_one_error(program.run_here("worker", "drain", "crew", "--finish", "--cancel"), 2)
    assert "crew-1 gives its trial back and ends" in program.run_here("worker", "drain", "crew").stderr
    done = finish(worker)
    assert done.returncode == 0, done.stderr
    assert "trial 0 preempted: drained" in done.stderr
    usage = program.usage(study)
    assert (usage.used, usage.waiting) == (0, 1)
    assert "drained" in program.run_here("worker", "list", "--all").stdout
    again = program.run_here("worker", "run", "--study", study, "--name", "crew-1")
    assert "a worker 'crew-1' is there already, or was" in assert_one_error(again, 2)
    assert "trials given back" in program.run_here("worker", "reap").stderr
