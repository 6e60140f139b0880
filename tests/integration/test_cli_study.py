"""A study from the command line: created, worked off by two workers side by side, shown, deleted."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sklearn.metrics import roc_auc_score

from anomalyvfm_opt.store.scores import read_metrics, read_scores
from anomalyvfm_opt.store.trial_record import TrialRecord
from tests.integration.program import CATEGORY, FinishedStudy, Program, assert_one_error, write_spec

SCORERS = {"predictor", "decoder", "mahalanobis", "patch_knn", "ensemble"}


def test_two_workers_share_the_budget_exactly(program: Program, finished_study: FinishedStudy) -> None:
    assert finished_study.created.returncode == 0, finished_study.created.stderr
    assert [worker.returncode for worker in finished_study.workers] == [0, 0], finished_study.workers
    assert "at most need 19 held-out normal scenes, and there are" in finished_study.created.stderr
    completed = [worker.stderr.count(" completed 0.") for worker in finished_study.workers]
    assert sum(completed) == 4
    usage = program.usage(finished_study.name)
    assert (usage.complete, usage.used, usage.running, usage.waiting) == (4, 4, 0, 0)


def test_show_prints_the_schema_that_others_rely_on(program: Program, finished_study: FinishedStudy) -> None:
    shown = program.run_json("study", "show", finished_study.name)
    assert shown["schema"] == 1
    assert (shown["name"], shown["category"], shown["state"]) == ("tiny/brick", CATEGORY, "finished")
    assert shown["budget"] == {"trials": 4, "used": 4}
    assert shown["trials"] == {"complete": 4, "pruned": 0, "failed": 0, "running": 0, "waiting": 0}
    references = shown["references"]
    assert references.keys() == {"frozen", "v1.1", "v1.2"}
    assert references["v1.2"] == references["v1.1"]  # brick has no rule of its own
    assert references["frozen"].keys() == {"number", "value"}
    best = shown["best"]
    assert best.keys() >= {"number", "value", "params", "seconds"}
    assert 1 >= best["value"] >= max(reference["value"] for reference in references.values())
    split = shown["split"]
    assert split["lock"] == "half"
    assert split["search_images"] + split["lock_images"] == 64
    assert len(split["hash"]) == 64
    proxy = shown["proxy"]
    assert proxy["trials"] == 3  # of 4: frozen is left out
    assert proxy["low"] is None
    assert proxy["best"] == best["value"] or best["reference"] == "frozen"
    assert proxy["median"] <= proxy["best"]
    assert proxy["scorers"].keys() == SCORERS


def test_a_trial_stores_both_objectives(program: Program, finished_study: FinishedStudy) -> None:
    for trial in program.trials(finished_study.name):
        objectives = trial.user_attrs["objectives"]
        assert objectives["labelled"] == trial.value
        synthetic = trial.user_attrs["synthetic_auroc"]
        assert (
            synthetic[trial.user_attrs["synthetic_scorer"]] == objectives["synthetic"] == max(synthetic.values())
        )


def test_all_that_is_stored_with_a_trial_is_declared(program: Program, finished_study: FinishedStudy) -> None:
    for trial in program.trials(finished_study.name):
        assert TrialRecord.from_attributes(trial.user_attrs).to_attributes() == trial.user_attrs


def test_list_prints_the_same_in_short(program: Program, finished_study: FinishedStudy) -> None:
    listed = program.run_json("study", "list")
    assert listed["schema"] == 1
    mine = next(study for study in listed["studies"] if study["name"] == finished_study.name)
    shown = program.run_json("study", "show", finished_study.name)
    assert mine == {key: shown[key] for key in ("name", "category", "state", "budget", "trials")}
    assert finished_study.name in program.run_here("study", "list").stdout


def test_the_table_has_the_references_and_says_what_it_is_not(
    program: Program, finished_study: FinishedStudy
) -> None:
    done = program.run_here("study", "show", "tiny")  # a spec's name means all of its studies
    assert done.returncode == 0
    row = next(line for line in done.stdout.splitlines() if line.strip().startswith(CATEGORY))
    shown = program.run_json("study", "show", finished_study.name)
    assert f"{shown['references']['frozen']['value']:.4f}" in row
    assert f"{shown['best']['value']:.4f}" in row
    assert "= v1.1" in row
    assert "4 of 4 trials done" in done.stdout
    assert "too few trials for an interval" in done.stdout or "the same for all" in done.stdout
    assert "prove nothing yet" in " ".join(done.stdout.split())


def test_the_stored_scores_give_the_stored_metrics(program: Program, finished_study: FinishedStudy) -> None:
    for trial in program.trials(finished_study.name):
        metrics = read_metrics(program.store.engine, trial._trial_id)
        is_frozen = trial.user_attrs.get("reference") == "frozen"
        assert metrics.keys() == (SCORERS - {"predictor", "decoder"} if is_frozen else SCORERS)
        for scorer, stored in metrics.items():
            scores = read_scores(program.store.engine, trial._trial_id, scorer)
            labels, values = zip(*scores.values(), strict=True)
            assert roc_auc_score(labels, values) == pytest.approx(stored.image_auroc, abs=1e-12)
        assert max(m.image_auroc for m in metrics.values()) == trial.value
        assert metrics[trial.user_attrs["scorer"]].image_auroc == trial.value


def test_a_reference_outside_of_the_space_runs_without_sampled_parameters(
    program: Program, finished_study: FinishedStudy
) -> None:
    trials = {trial.user_attrs.get("reference"): trial for trial in program.trials(finished_study.name)}
    assert trials["v1.1"].params == {}
    assert trials["v1.1"].user_attrs["parameters"]["epochs"] == 10
    assert trials["v1.1"].intermediate_values.keys() == set(range(1, 11))
    assert len(trials[None].params) == 12


def test_the_same_study_again_is_a_no_op(program: Program, finished_study: FinishedStudy) -> None:
    again = program.create(finished_study.spec_file)
    assert again.returncode == 0
    assert "is there already, unchanged" in again.stderr
    assert program.usage(finished_study.name).used == 4


def test_creation_warns_of_images_that_are_there_twice(program: Program, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, "copied")
    assert "copies of its own" not in program.create(spec).stderr
    data = tmp_path / "data"
    shutil.copytree(program.data / CATEGORY, data / CATEGORY)
    for number, trained in enumerate(sorted((data / CATEGORY).glob("train/good/*.png"))[:2]):
        shutil.copy(trained, data / CATEGORY / f"test_public/good/{900 + number}_regular.png")
    created = program.create(write_spec(tmp_path, "copies"), data)
    assert created.returncode == 0, created.stderr
    assert f"warning: {CATEGORY} has copies of its own images (2)" in created.stderr


def test_a_worker_in_the_tests_own_process_leaves_it_as_it_was(
    program: Program, finished_study: FinishedStudy
) -> None:
    """Else the tests after it would have other threads, and so other bits, and would not hear a signal."""

    def look() -> list[object]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
        return [torch.get_num_threads(), *map(signal.getsignal, numbers)]

    before = look()
    done = program.run_here("worker", "run", "--study", finished_study.name, "--threads", "2")
    assert done.returncode == 0, done.stderr
    assert "2 threads" in done.stderr
    assert look() == before


def test_a_changed_spec_is_refused_with_the_difference(
    program: Program, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    changed = program.create(write_spec(tmp_path, "tiny", search={"trials": 5}))
    assert "search.trials: 4 -> 5" in assert_one_error(changed, 2)
    assert program.record(finished_study.name).budget == 4


def test_delete_asks_first_and_then_removes(program: Program) -> None:
    name = program.create_here("unwanted", references=["frozen"])
    assert program.usage(name).waiting == 1
    assert program.run("study", "delete", name).returncode != 0  # nobody answers
    assert name in program.list_names()
    assert program.run_here("study", "delete", name, "--yes").returncode == 0
    assert name not in program.list_names()


def test_optunas_own_command_line_lists_our_studies(program: Program, finished_study: FinishedStudy) -> None:
    url = program.run_here("db", "url").stdout.strip()
    assert "passfile=" in url
    done = subprocess.run(
        [Path(sys.executable).with_name("optuna"), "studies", "--storage", url],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert finished_study.name in done.stdout
