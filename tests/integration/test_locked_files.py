"""Only a confirmation needs the locked images: without their files the same trials give the same numbers."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.study_name import Kind
from anomalyvfm_opt.store.confirmations import find_device, insert_confirmation
from anomalyvfm_opt.store.division import StoredImage, list_images
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.siblings import find_sibling, plan_trials
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.study.creation import create_studies
from anomalyvfm_opt.trial.result import TrialRequest
from anomalyvfm_opt.worker.images import find_images
from tests.integration.program import CATEGORY, Program, assert_one_error, make_tiny
from tests.integration.test_cli_workbench import Silence, are_equal, make_parameters


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(Spec.model_validate(make_tiny("locked")), torch.device("cpu"))


def list_locked(program: Program, record: StudyRecord) -> list[StoredImage]:
    return [i for i in list_images(program.store.engine, record.study_id).values() if i.role == "locked"]


def copy_without_lock(program: Program, record: StudyRecord, folder: Path) -> Path:
    """The data as a careful owner hands it to those who search: the lock's files are not there."""
    shutil.copytree(program.data / CATEGORY, folder / CATEGORY)
    for image in list_locked(program, record):
        path = folder / image.image_key
        path.unlink()
        if image.label == "bad":
            (path.parents[1] / "ground_truth/bad" / f"{path.stem}_mask.png").unlink()
    return folder


def plan(program: Program, name: str, kind: Kind, scorer: str | None) -> StudyRecord:
    """One frozen trial in a sibling."""
    store, record = program.store, program.record(name)

    def write(connection: Any, study_id: int) -> bool:
        return kind != "confirm" or insert_confirmation(connection, study_id, 1, {})

    trials = [(Planned("frozen", None, 1, int(kind == "confirm"), scorer), {})]
    plan_trials(store, record, kind, trials, write)
    sibling = find_sibling(store.engine, record, kind)
    assert sibling is not None
    return sibling


@pytest.mark.parametrize("lock", ["half", "all"])
def test_trials_on_search_data_are_the_same_without_the_locks_files(
    program: Program, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setenv("ANOMALYVFM_OPT_HOME", str(program.cluster.home))
    spec = make_tiny(f"locked-{lock}", data={"lock": lock}, verdict={"noise_seeds": 0})
    (name,) = create_studies(program.store, Spec.model_validate(spec), program.data, [CATEGORY])
    record = program.record(name)
    bare = copy_without_lock(program, record, tmp_path / "bare")
    removed = len(list((program.data / CATEGORY).rglob("*.png"))) - len(list((bare / CATEGORY).rglob("*.png")))
    assert removed > len(list_locked(program, record)) > 20
    stored = list_images(program.store.engine, record.study_id)

    def bench(root: Path, arrays: str) -> Workbench:
        split = find_images(record, stored, root)
        assert split.locked == ()
        return Workbench(record.spec, split, record.split_sha256, backbone, ArrayStore(tmp_path / arrays))

    whole, without = bench(program.data, "whole"), bench(bare, "without")
    for parameters, is_watched in ((None, True), (make_parameters(), True), (make_parameters(rank=4), False)):
        request = TrialRequest(number=0, parameters=parameters, seed=7, is_watched=is_watched)
        assert are_equal(run_trial(whole, request, Silence()), run_trial(without, request, Silence()))
    confirm = plan(program, name, "confirm", "patch_knn")
    assert len(find_images(confirm, stored, program.data).locked) == len(list_locked(program, confirm))
    with pytest.raises(EnvironmentMissingError, match=f"images of {confirm.name}, first"):
        find_images(confirm, stored, bare)


@pytest.mark.slow
def test_a_worker_without_the_locks_files_trains_replicates_and_refuses_to_confirm(
    program: Program, tmp_path: Path
) -> None:
    """Found here: it had claimed the confirmation for its kind of device before it noticed."""
    name = program.create_here("bare", verdict={"noise_seeds": 0})
    replicates, confirm = plan(program, name, "replicates", None), plan(program, name, "confirm", "patch_knn")
    bare = copy_without_lock(program, confirm, tmp_path / "bare")
    work = ("worker", "run", "--threads", "1", "--data", str(bare))
    done = program.run_here(*work, "--study", replicates.name)
    assert done.returncode == 0, done.stderr
    assert program.usage(replicates.name).complete == 1
    refused = program.run_here(*work, "--study", confirm.name)
    shown = assert_one_error(refused, 3)
    locked = sorted(image.image_key for image in list_locked(program, confirm))
    assert f"lacks {len(locked)} of the" in shown
    assert f"images of {confirm.name}, first {locked[0]}" in shown
    assert "--data" in shown
    usage = program.usage(confirm.name)
    assert (usage.used, usage.waiting) == (0, 1)
    assert find_device(program.store.engine, confirm.study_id) == ""
    done = program.run_here("worker", "run", "--threads", "1", "--study", confirm.name)
    assert done.returncode == 0, done.stderr
    assert program.usage(confirm.name).complete == 1
    assert find_device(program.store.engine, confirm.study_id).startswith("cpu")
