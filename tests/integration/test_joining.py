"""What a worker is refused for, and that `doctor --worker` says it before: version, spec, images, weights."""

import shutil
from pathlib import Path

import pytest
import timm
from optuna.trial import TrialState
from safetensors.torch import save_file
from sqlalchemy import text

from anomalyvfm_opt import METHOD
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.store import open_store
from anomalyvfm_opt.store.studies import load_study
from anomalyvfm_opt.study.creation import create_studies
from tests.integration.doctor_answer import Answer, ask
from tests.integration.program import CATEGORY, Program, assert_one_error, make_tiny

OURS = ("studies", "study_images", "study_weights", "fleet", "artifacts")


def ask_for(program: Program, study: str, *more: str, **environment: str) -> Answer:
    home = {"ANOMALYVFM_OPT_HOME": str(program.cluster.home), **environment}
    return ask("--worker", "--study", study, "--device", "cpu", *more, **home)


def change(program: Program, study: str, assignment: str) -> None:
    with program.store.engine.begin() as connection:
        statement = f"UPDATE anomalyvfm_opt.study SET {assignment} WHERE study_id = :id"  # noqa: S608 - of this file
        connection.execute(text(statement), {"id": program.record(study).study_id})


def refuse(program: Program, study: str, *more: str) -> str:
    """What a worker says that does not join; it has taken no trial."""
    done = program.run_here("worker", "run", "--study", study, "--device", "cpu", *more)
    message = assert_one_error(done, 2)
    usage = program.usage(study)
    assert (usage.used, usage.held, usage.running) == (0, 0, 0)
    return message


def test_a_host_where_a_worker_can_join(program: Program) -> None:
    study = program.create_here("joinable")
    answer = ask_for(program, study)
    assert answer.failed() == []
    assert [answer.checks[name]["status"] for name in OURS] == ["ok"] * len(OURS)
    assert study in answer.checks["studies"]["detail"]
    assert "1 study" in answer.checks["study_images"]["detail"]


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        (
            f"method = {METHOD + 1}",
            (f"by a program of method {METHOD + 1}", "a worker of that newer version"),
        ),
        ("method = 0", ("by a program of method 0", "a worker of that older version")),
        ("spec = jsonb_set(spec, '{training,batch_size}', '8')", ("is not the one that it was created with",)),
    ],
    ids=["newer", "older", "spec"],
)
def test_a_program_or_a_spec_that_differs(
    program: Program, request: pytest.FixtureRequest, assignment: str, words: tuple[str, ...]
) -> None:
    study = program.create_here(f"other-{request.node.callspec.id}")
    change(program, study, assignment)
    message = refuse(program, study)
    answer = ask_for(program, study)
    answer.assert_fails("studies", *words)
    assert [answer.checks[name]["status"] for name in OURS[1:4]] == ["skip"] * 3
    for word in words:
        assert word in message


def test_a_stopped_study_of_another_method_is_in_nobodys_way(
    program: Program,
) -> None:
    study = program.create_here("old-and-stopped")
    change(program, study, "method = 0, state = 'stopped'")
    done = program.run_here("worker", "run", "--study", study, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert ask_for(program, study).checks["studies"] == {
        "name": "studies",
        "status": "skip",
        "detail": "nothing to join: no study has trials left",
        "fix": "",
    }


def test_what_is_for_another_version_is_left_to_it_by_a_worker_that_serves_all(
    program: Program, database_url: str
) -> None:
    """Old and new workers on one store: each does what is for it."""
    store = open_store(database_url)
    for name in ("mine", "theirs"):
        spec = Spec.model_validate(make_tiny(name, references=["frozen"], search={"trials": 1}))
        create_studies(store, spec, program.data, [CATEGORY])
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE anomalyvfm_opt.study SET method = 0 WHERE spec->>'name' = 'theirs'"))
    answer = ask("--worker", "--device", "cpu", "--db", database_url)
    assert answer.failed() == []
    assert answer.checks["studies"]["status"] == "warn"
    assert "theirs/brick was created by a program of method 0" in answer.checks["studies"]["detail"]
    assert "1 study" in answer.checks["study_images"]["detail"]
    done = program.run_here("worker", "run", "--device", "cpu", "--db", database_url)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("theirs/brick was created by a program of method 0") == 1
    assert "worker done: 1 completed" in done.stderr
    left = count_usage(store.engine, load_study(store.engine, "theirs/brick").study_id)
    assert (left.used, left.running, left.waiting) == (0, 0, 1)


def test_a_number_that_the_database_writes_in_its_own_way_is_no_change(program: Program) -> None:
    study = program.create_here("large-number", verdict={"noise_seeds": 0, "max_cost_ratio": 1e99})
    assert program.record(study).is_spec_intact


def test_a_copy_of_the_images_with_one_that_differs(program: Program, tmp_path: Path) -> None:
    study = program.create_here("other-images")
    copy = tmp_path / "data"
    shutil.copytree(program.data, copy)
    image = next((copy / CATEGORY / "train" / "good").iterdir())
    image.write_bytes(image.read_bytes() + b"\0")
    answer = ask_for(program, study, "--data", str(copy))
    answer.assert_fails("study_images", f"images of {study}", f"train/good/{image.stem}", "restore them")
    assert answer.checks["data"]["status"] == "ok"
    assert f"images of {study}" in refuse(program, study, "--data", str(copy))


def test_other_weights(program: Program, tmp_path: Path) -> None:
    study = program.create_here("other-weights")
    file = tmp_path / "other.safetensors"
    save_file(timm.create_model("tf_efficientnet_lite0").state_dict(), file)
    answer = ask_for(program, study, "--weights", str(file))
    answer.assert_fails("study_weights", f"are not those of {study}", "the same weights file")
    assert f"are not those of {study}" in refuse(program, study, "--weights", str(file))


def test_trials_of_other_libraries_are_told(program: Program) -> None:
    study = program.create_here("other-libraries")
    waiting = next(trial for trial in program.trials(study) if trial.state is TrialState.WAITING)
    program.store.storage.set_trial_user_attr(
        waiting._trial_id, "versions", {"torch": "1.0", "timm": timm.__version__}
    )
    fleet = ask_for(program, study).checks["fleet"]
    assert fleet["status"] == "warn"
    assert "trials so far ran with torch 1.0:" in fleet["detail"]
    assert "timm" not in fleet["detail"].partition("ran with")[2]


def test_a_folder_for_artifacts_that_cannot_be_one(program: Program, tmp_path: Path) -> None:
    study = program.create_here("other-artifacts")
    (tmp_path / "file").touch()
    answer = ask_for(program, study, ANOMALYVFM_OPT_ARTIFACTS=str(tmp_path / "file" / "artifacts"))
    answer.assert_fails("artifacts", "file/artifacts", "a folder that all hosts share")
