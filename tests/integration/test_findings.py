"""What the linter found is stored with the trial, kept from the sampler and from the best trial, and shown."""

from dataclasses import replace

import pytest
from optuna.trial import TrialState

from anomalyvfm_opt.cli.tables import print_grid, print_parts
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.evaluation.linter.findings import Finding, Severity
from anomalyvfm_opt.report.proxy import judge_proxy
from anomalyvfm_opt.report.results_text import describe_results, describe_study
from anomalyvfm_opt.report.summary import StudySummary, summarise, tabulate, to_json
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.trial.result import Progress, RunTrial, TrialRequest, TrialResult
from anomalyvfm_opt.trial.settle import Ended
from tests.integration.conftest import Bench, run_quickly
from tests.integration.program import Program
from tests.integration.trial_states import states

BROKEN = Finding("train_mode", Severity.BROKEN, "1 modules are in train mode while scoring")
DOUBTFUL = Finding("flat_loss", Severity.DOUBTFUL, "the loss went from 1.0 to 1.0")


def find_in(number: int, *findings: Finding, value: float = 1.0) -> RunTrial:
    """A trial that has findings, and the value, if it has that number."""

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        result = run_quickly(request, progress)
        return replace(result, value=value, findings=findings) if request.number == number else result

    return run


def look(bench: Bench) -> StudySummary:
    return summarise(bench.store, bench.record)


def test_a_broken_trial_is_complete_and_infeasible(bench: Bench) -> None:
    ended: list[Ended] = []
    loop = bench.loop(find_in(1, DOUBTFUL, BROKEN), ended=ended)
    for _ in range(3):
        loop.take_turn()
    trials = bench.study().get_trials()
    assert [trial.constraints for trial in trials] == [{}, {"unsound": 1.0}, {}]
    assert (trials[1].state, trials[1].value) == (TrialState.COMPLETE, 1.0)
    assert trials[1].user_attrs["findings"] == [vars(DOUBTFUL), vars(BROKEN)]
    assert trials[0].user_attrs["findings"] == []
    assert [end.findings for end in ended] == [(), (DOUBTFUL, BROKEN), ()]
    assert ended[1].outcome is Outcome.COMPLETED
    assert bench.study().best_trial.number != 1


def test_the_best_trial_leaves_out_unsound_ones_and_says_so(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = bench.loop(find_in(1, BROKEN, DOUBTFUL))
    for _ in range(3):
        loop.take_turn()
    summary = look(bench)
    assert summary.best is not None
    assert summary.best.number != 1
    assert to_json(summary)["findings"] == [
        {"number": 1, "check": "train_mode", "severity": "broken", "message": BROKEN.message},
        {"number": 1, "check": "flat_loss", "severity": "doubtful", "message": DOUBTFUL.message},
    ]
    print_grid(describe_study(summary, judge_proxy(bench.store, summary.record)))
    shown = capsys.readouterr().out
    assert f"trial 1 train_mode  broken: {BROKEN.message}" in " ".join(shown.split(" "))
    assert "neither the best trial nor the sampler builds on" in shown


def test_a_doubtful_trial_may_be_the_best(bench: Bench) -> None:
    loop = bench.loop(find_in(1, DOUBTFUL))
    for _ in range(3):
        loop.take_turn()
    summary = look(bench)
    assert summary.best is not None
    assert (summary.best.number, summary.list_unsound()) == (1, [])
    assert bench.study().get_trials()[1].constraints == {}


def test_a_reference_that_is_unsound_is_no_figure_to_compare_with(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.loop(find_in(0, BROKEN)).take_turn()
    summary = look(bench)
    assert summary.best is None
    (row,) = tabulate([summary])
    assert (row.frozen, row.best) == ("unsound", "-")
    print_parts(describe_results([summary]))
    assert "unsound" in capsys.readouterr().out


def test_trials_of_older_versions_have_no_findings(bench: Bench) -> None:
    study = bench.study()
    trial = study.ask()
    study.tell(trial, 0.5)
    assert look(bench).findings == []


def test_a_backbone_that_is_spoilt_gives_the_next_trial_back_and_ends_the_worker(bench: Bench) -> None:
    def refuse(_request: TrialRequest, _progress: Progress) -> TrialResult:
        raise EnvironmentMissingError("the backbone in memory is spoilt", "start the worker again")

    bench.loop(find_in(0, BROKEN)).take_turn()
    with pytest.raises(EnvironmentMissingError, match="spoilt"):
        bench.loop(refuse).take_turn()
    assert states(bench) == ["COMPLETE", "FAIL", "WAITING"]
    assert count_usage(bench.engine, bench.record.study_id).used == 1


def test_a_worker_names_what_it_found_and_study_show_tells_more(program: Program) -> None:
    name = program.create_here(
        "idle",
        references=["frozen"],
        search={
            "trials": 2,
            "space": {"adapter": ["lora"], "rank": [4], "learning_rate": {"low": 1e-9, "high": 1e-8}},
        },
    )
    worked = program.run_here("worker", "run", "--study", name, "--threads", "1")
    assert worked.returncode == 0, worked.stderr
    (line,) = [line for line in worked.stderr.splitlines() if "trial 1 completed" in line]
    assert "(idle_adapter); best 0." in line
    assert "trial 0 completed" in worked.stderr
    shown = program.run_here("study", "show", name)
    assert "doubtful: the largest update of an adapted layer" in shown.stdout
    (finding,) = program.run_json("study", "show", name)["findings"]
    assert (finding["number"], finding["check"], finding["severity"]) == (1, "idle_adapter", "doubtful")
