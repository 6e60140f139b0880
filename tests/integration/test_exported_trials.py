"""Every adapter by every scorer: a trial's stored scores come out of its folder, without database and study."""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from anomalyvfm_opt.inference.selftest import measure_difference
from anomalyvfm_opt.spec.model import ScorerName
from anomalyvfm_opt.spec.space import Adapter
from anomalyvfm_opt.store.scores import read_scores
from tests.integration.program import CATEGORY, Program, write_spec

NOWHERE = {"ANOMALYVFM_OPT_DB_URL": "postgresql://nobody@127.0.0.1:9/nowhere", "ANOMALYVFM_OPT_HOME": "/nowhere"}
VIT = {"name": "test_vit.r160_in1k", "weights": "random", "decoder_blocks": [-2], "patch_blocks": [-2, -1]}
TILED = {"image_size_px": 128, "aspect": "keep", "tiles": {"size_px": 64, "overlap_px": 32}}
CHANGES: dict[str, dict[str, Any]] = {
    "lora": {"backbone": VIT},
    "rslora": {"data": TILED},
    "dora": {"backbone": VIT, "data": TILED},
    "adalora": {"training": {"steps_per_epoch": 4}},
    "none": {"backbone": VIT},
}


def train(program: Program, folder: Path, name: str, adapter: str, **changes: Any) -> str:
    """A finished study of one trained trial, beside the frozen one."""
    space = {
        **{"rank": [4], "epochs": {"low": 2, "high": 2}, "synthesis_intensity": [1.0]},
        **{"synthesis_count": {"low": 8, "high": 8}, "adapter": [adapter]},
    }
    search = {"trials": 2, "startup_trials": 1, "space": space}
    created = program.create(write_spec(folder, name, references=["frozen"], search=search, **changes))
    assert created.returncode == 0, created.stderr
    done = program.run_here("worker", "run", "--study", name, "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "2 completed" in done.stderr
    return f"{name}/{CATEGORY}"


def test_the_matrix_has_all_adapters() -> None:
    assert CHANGES.keys() == set(get_args(Adapter))


@pytest.mark.slow
@pytest.mark.parametrize("adapter", CHANGES)
def test_the_stored_scores_come_out_of_the_folder(program: Program, tmp_path: Path, adapter: str) -> None:
    study = train(program, tmp_path, f"folders-{adapter}", adapter, **CHANGES[adapter])
    trial = program.trials(study)[1]
    for scorer in get_args(ScorerName):
        folder = tmp_path / scorer
        options = ("--onnx", "--json") if scorer == "ensemble" else ()  # which has all scorers in it
        made = program.run_here(
            "model", "export", study, str(folder), "--trial", "1", "--scorer", scorer, *options
        )
        assert made.returncode == 0, made.stderr
        if options:
            assert json.loads(made.stdout)["onnx"]["proof"]["largest_difference_from_trial"] < 1e-4
        stored = read_scores(program.store.engine, trial._trial_id, scorer)
        images = [str(program.data / key) for key in stored]
        run = program.run if scorer == "ensemble" else program.run_here  # a process of its own is slow
        done = run("predict", str(folder), *images, "--batch", "7", "--json", **NOWHERE)
        assert done.returncode == 0, done.stderr
        found = np.array([json.loads(line)["score"] for line in done.stdout.splitlines()])
        wanted = np.array([score for _, score in stored.values()])
        assert measure_difference(wanted, found).max() < 1e-5, scorer


@pytest.mark.slow
def test_a_study_that_sees_no_labels_is_exported_by_its_synthetic_exam(program: Program, tmp_path: Path) -> None:
    study = train(program, tmp_path, "folders-unlabelled", "lora", data={"lock": "all"})
    made = program.run_here("model", "export", study, str(tmp_path / "made"), "--json")
    assert made.returncode == 0, made.stderr
    card = json.loads(made.stdout)
    assert card["thresholds"]["scenes"] == 8  # half of the held-out ones: the others sit the exam
    assert card["thresholds"]["best_f1"] is None
    assert card["proof"]["images"] == 8 + 9
