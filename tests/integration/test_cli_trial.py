"""`trial list`, `trial show` and `study best`: what a study tried, on the real store."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

from sqlalchemy import text

from anomalyvfm_opt.spec.load import load_spec
from anomalyvfm_opt.store.trials import list_trials
from tests.integration.program import FinishedStudy, Program, assert_one_error


def test_the_list_has_a_row_for_each_trial(program: Program, finished_study: FinishedStudy) -> None:
    done = program.run_here("trial", "list", finished_study.name)
    rows = [line.split() for line in done.stdout.splitlines()[3:]]
    assert [row[:3] for row in rows[:2]] == [["0", "frozen", "completed"], ["1", "v1.1", "completed"]]
    assert [row[1] for row in rows[2:]] == ["search", "search"]
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= 80
    trials = list_trials(program.store.engine, program.record(finished_study.name).study_id)
    assert [row[3] for row in rows] == [f"{trial.value:.4f}" for trial in trials]


def test_one_trial_is_shown_with_all_of_its_parameters(program: Program, finished_study: FinishedStudy) -> None:
    done = program.run_here("trial", "show", finished_study.name, "2")
    shown = {line[:20].strip(): line[20:].strip() for line in done.stdout.splitlines()}
    (trial,) = (
        trial
        for trial in list_trials(program.store.engine, program.record(finished_study.name).study_id)
        if trial.number == 2
    )
    attributes = trial.user_attrs
    for name, value in attributes["parameters"].items():
        assert shown[name] == (f"{value:.6g}" if isinstance(value, float) else str(value))
    assert shown["alpha"] == f"{attributes['alpha']:.6g}"
    assert shown["training seed"] == str(attributes["training_seed"])
    assert shown["what"] == "search"
    assert shown["value"].startswith(f"{trial.value:.4f} image AUROC by {attributes['scorer']}")
    assert shown["against frozen"].endswith("(trial 0: " + shown["against frozen"].split(": ")[1])
    assert "patch_knn 0." in shown["by scorer"]
    assert shown["worker"]
    assert shown["findings"]


def test_json_has_the_same_and_the_list_is_made_of_it(program: Program, finished_study: FinishedStudy) -> None:
    listed = program.run_json("trial", "list", finished_study.name)
    assert listed["study"] == finished_study.name
    assert [trial["number"] for trial in listed["trials"]] == [0, 1, 2, 3]
    assert [trial["reference"] for trial in listed["trials"]] == ["frozen", "v1.1", None, None]
    one = program.run_json("trial", "show", finished_study.name, "3")
    assert {key: value for key, value in one.items() if key not in ("schema", "study")} == listed["trials"][3]
    assert one["params"]["learning_rate"] > 0
    assert one["started_at"] < one["ended_at"]
    assert one["ended_at"].endswith("+00:00")


def test_a_trial_that_is_not_there_is_said_with_those_that_are(
    program: Program, finished_study: FinishedStudy
) -> None:
    message = assert_one_error(program.run_here("trial", "show", finished_study.name, "99"), 2)
    assert "has no trial 99" in message
    assert "its trials are 0 to 3" in message


def test_trials_that_wait_have_no_value(program: Program) -> None:
    name = program.create_here("waiting_here", search={"trials": 5})
    rows = [line.split() for line in program.run_here("trial", "list", name).stdout.splitlines()[3:]]
    assert rows[0] == ["0", "frozen", "waiting", "-", "-", "-", "-"]
    message = assert_one_error(program.run_here("study", "best", name), 2)
    assert "has no best trial yet" in message


@contextmanager
def valued(program: Program, study: str, number: int, value: float) -> Iterator[None]:
    """A complete trial that has another value for a while, of which minus infinity is a sealed one."""
    find = text("SELECT value, value_type FROM trial_values WHERE trial_id = :id")
    write = text("UPDATE trial_values SET value = :value, value_type = :value_type WHERE trial_id = :id")
    trial = list_trials(program.store.engine, program.record(study).study_id)[number]
    new = {"value": None, "value_type": "INF_NEG"} if value == -inf else {"value": value, "value_type": "FINITE"}
    with program.store.engine.begin() as connection:
        before = connection.execute(find, {"id": trial.trial_id}).one()._asdict()
        connection.execute(write, {"id": trial.trial_id, **new})
    try:
        yield
    finally:
        with program.store.engine.begin() as connection:
            connection.execute(write, {"id": trial.trial_id, **before})


def test_what_a_running_confirmation_measures_is_not_shown(
    program: Program, finished_study: FinishedStudy
) -> None:
    """A sealed value is minus infinity; neither it nor the scorers' values behind it are seen."""
    with valued(program, finished_study.name, 2, -inf):
        shown = program.run_json("trial", "show", finished_study.name, "2")
        assert (shown["value"], shown["image_auroc"]) == (None, {})
        out = program.run_here("trial", "show", finished_study.name, "2").stdout
        assert "by scorer" not in out
        assert "inf" not in out


def test_the_best_trial_as_a_spec_is_sound_and_repeats_it(
    program: Program, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    with valued(program, finished_study.name, 3, 1.0):
        best = program.run_json("study", "best", finished_study.name)
        done = program.run_here("study", "best", finished_study.name, "--spec")
        as_json = program.run_json("study", "best", finished_study.name, "--spec")
    assert best["number"] == as_json["number"] == 3
    file = tmp_path / "tiny-brick-trial3.yaml"
    file.write_text(done.stdout)
    said = done.stderr.strip()
    assert said.endswith(f"anomalyvfm-opt study create {file.name} --data {program.data}")  # it runs as it stands
    checked = program.run_here("spec", "check", str(file))
    assert checked.returncode == 0, checked.stderr
    space = as_json["spec"]["search"]["space"]
    for name in ("learning_rate", "epochs", "alpha_ratio", "synthesis_count"):
        assert space[name]["low"] == space[name]["high"] == best["params"][name]
    assert space["rank"] == [best["params"]["rank"]]
    assert load_spec(file).model_dump(mode="json") == as_json["spec"]


def test_the_frozen_network_has_nothing_to_repeat(program: Program, finished_study: FinishedStudy) -> None:
    with valued(program, finished_study.name, 0, 1.0):
        assert "what     " in program.run_here("study", "best", finished_study.name).stdout
        done = program.run_here("study", "best", finished_study.name, "--spec")
    assert "0, the frozen network, which has no parameters" in assert_one_error(done, 2)
