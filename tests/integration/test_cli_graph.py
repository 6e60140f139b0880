"""`model export --onnx` and what `model check` says of it: a graph that is proved, or no folder at all."""

import errno
import json
import sys
from pathlib import Path

import onnxruntime
import pytest

from anomalyvfm_opt.evaluation.scorers import SCORERS
from anomalyvfm_opt.inference import folder as folders
from tests.integration.program import FinishedStudy, Program, assert_one_error

ELSEWHERE = {"ANOMALYVFM_OPT_DB_URL": "postgresql://nobody@127.0.0.1:9/nowhere"}


@pytest.fixture(scope="module")
def exported(program: Program, finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best trial's folder, with a graph."""
    folder = tmp_path_factory.mktemp("with_graph") / "detector"
    done = program.run_here("model", "export", finished_study.name, str(folder), "--onnx", "--json")
    assert done.returncode == 0, done.stderr
    assert "writing detector.onnx and scoring 31 images by it" in done.stderr
    assert "ONNX Runtime gives torch's scores within" in done.stderr
    assert "Warning" not in done.stderr
    card = json.loads(done.stdout)
    assert card["onnx"]["proof"]["images"] == 31
    assert card["onnx"]["proof"]["largest_difference"] < 1e-4
    assert card["onnx"]["proof"]["auroc"]["torch"] == card["onnx"]["proof"]["auroc"]["onnx"]
    assert card["onnx"]["inputs"]["images"]["shape"] == ["n", 64, 64, 3]
    assert card["files"]["detector.onnx"]["size_bytes"] == (folder / "detector.onnx").stat().st_size
    assert [path.name for path in folder.parent.iterdir()] == ["detector"]
    return folder


def test_the_graph_is_checked_without_a_database(program: Program, exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "detector.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["images"]
    assert [one.name for one in session.get_outputs()] == ["score", "map"]
    done = program.run_here("model", "check", str(exported), "--json", **ELSEWHERE)
    assert done.returncode == 0, done.stderr
    assert "detector.onnx: ONNX Runtime gives torch's scores within" in done.stderr
    found = json.loads(done.stdout)
    assert found["onnx"]["is_close"] is True
    assert found["onnx"]["scores"]["images"] == found["onnx"]["maps"]["images"] == 4


def test_without_onnx_runtime_the_check_says_so(
    program: Program, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anomalyvfm_opt.inference.graph_proof.has_runtime", lambda: False)
    done = program.run_here("model", "check", str(exported), "--json", **ELSEWHERE)
    assert done.returncode == 0, done.stderr
    assert "detector.onnx is whole, and was not run: ONNX Runtime is not installed" in done.stderr
    assert json.loads(done.stdout)["onnx"] is None


def test_a_folder_without_a_graph_says_nothing_of_one(
    program: Program, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    done = program.run_here("model", "export", finished_study.name, str(tmp_path / "made"), "--frozen", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["onnx"] is None
    checked = program.run_here("model", "check", str(tmp_path / "made"), **ELSEWHERE)
    assert "onnx" not in (checked.stderr + (tmp_path / "made" / "README.md").read_text()).lower()


def test_a_graph_that_gives_other_scores_here_is_refused(
    program: Program, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anomalyvfm_opt.inference.graph_proof.ALLOWED", 0.0)
    shown = assert_one_error(program.run_here("model", "check", str(exported), **ELSEWHERE), 3)
    assert "detector.onnx does not give torch's scores and maps here" in shown
    assert "and should have" in shown


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_nothing_is_begun(
    program: Program, finished_study: FinishedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    done = program.run_here("model", "export", finished_study.name, str(tmp_path / "made"), "--onnx")
    shown = assert_one_error(done, 3)
    assert f"library {name}, which cannot be imported here" in shown
    assert "pip install 'anomalyvfm-opt[onnx]'" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_scorer_without_a_graph_is_refused_before_anything_is_computed(
    program: Program, finished_study: FinishedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (knn,) = [one for one in SCORERS if one.name == "patch_knn"]
    monkeypatch.setitem(vars(knn), "trace", None)
    monkeypatch.setattr("anomalyvfm_opt.delivery.deliver.prepare_bench", None)
    options = ("--onnx", "--scorer", "ensemble")
    done = program.run_here("model", "export", finished_study.name, str(tmp_path / "made"), *options)
    shown = assert_one_error(done, 2)
    assert "the scorer patch_knn, which ensemble is given with, cannot be written as an ONNX graph" in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_on_a_full_disk_there_is_no_folder(
    program: Program, finished_study: FinishedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole = folders.write_whole

    def write(path: Path, content: bytes) -> None:
        if path.name == folders.GRAPH:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_whole(path, content)

    monkeypatch.setattr(folders, "write_whole", write)
    done = program.run_here("model", "export", finished_study.name, str(tmp_path / "made"), "--frozen", "--onnx")
    assert "No space left on device" in assert_one_error(done, 3)
    assert list(tmp_path.iterdir()) == []
