"""The rivals' benchmark: what it measures on the lock half, whom it chooses a scorer by, and how it is resumed."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import open_arrays
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.data.split import divide
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.trial.result import TrialResult
from tests.integration.program import CATEGORY, FinishedStudy, Program

SEEDS = 2


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    with threadpool_limits(1):
        yield


@pytest.fixture
def run_benchmark(
    program: Program, finished_study: FinishedStudy, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], list[str]]:
    """Runs it in this process; returns the lines of the file of rows."""

    def run(out: Path) -> list[str]:
        chosen = f"--category {CATEGORY} --best {finished_study.name} --db {program.cluster.url()} --seeds {SEEDS}"
        words = ["quality.py", finished_study.spec_file, "--data", program.data, "--out", out, *chosen.split()]
        monkeypatch.setenv("ANOMALYVFM_OPT_HOME", str(program.cluster.home))
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        importlib.import_module("quality").main()
        return out.read_text().splitlines()

    return run


def test_the_lock_half_is_measured_alone_and_a_killed_run_is_resumed(
    program: Program,
    finished_study: FinishedStudy,
    run_benchmark: Callable[[Path], list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "rows.jsonl"
    lines = run_benchmark(out)
    rows = [json.loads(line) for line in lines]
    arms = ["frozen", "heads", "v1.1", "best"]
    assert [row["arm"] for row in rows] in (arms * SEEDS, arms[:3] * SEEDS)  # v1.1 may itself be the best
    assert "| v1.2 = v1.1 " in capsys.readouterr().out

    alone = run_v1_1_on_locked(program, finished_study, rows[2]["seed"])
    measured = rows[2]["measures"]["locked"]
    assert measured.keys() == alone.metrics.keys()
    for scorer, metrics in alone.metrics.items():
        assert measured[scorer]["image_auroc"] == pytest.approx(metrics.image_auroc, abs=1e-6)
        assert measured[scorer]["au_pro_005"] == pytest.approx(metrics.au_pro_005, abs=1e-4)

    out.write_text("\n".join([*lines[:-1], lines[-1][:40]]))  # as a killed run leaves it
    again = run_benchmark(out)
    assert again[:-1] == [*lines[:-1], lines[-1][:40]]
    assert _without_time(again[-1]) == _without_time(lines[-1])


def run_v1_1_on_locked(program: Program, study: FinishedStudy, seed: int) -> TrialResult:
    """A trial whose only exam is the lock half."""
    record = program.record(study.name)
    split = divide(read_category(program.data, CATEGORY), "half")
    backbone = load_backbone(record.spec, torch.device("cpu"))
    only_locked = replace(split, search=split.locked, locked=())
    bench = Workbench(record.spec, only_locked, record.split_sha256, backbone, open_arrays(program.cluster.home))
    result: TrialResult = importlib.import_module("retraining").retrain(
        bench, reference_parameters("v1.1", CATEGORY, 64), seed
    )
    return result


def test_the_scorer_is_the_one_that_was_best_on_the_search_half() -> None:
    rival_rows = importlib.import_module("rival_rows")
    good, bad = {"image_auroc": 0.9, "au_pro_005": None}, {"image_auroc": 0.6, "au_pro_005": 0.2}
    measures = {"search": {"a": good, "b": bad}, "locked": {"a": bad, "b": good}}
    rows = [{"measures": measures, "seconds": 1.0}] * 2
    assert rival_rows.choose_scorer(rows, "image_auroc", None) == "a"
    assert rival_rows.choose_scorer(rows, "image_auroc", {"b"}) == "b"
    assert rival_rows.choose_scorer(rows, "au_pro_005", {"a"}) is None
    assert rival_rows.describe_arm("x", rows, {"a"}) == ("x", "a", "0.6000 ± 0.0000", "-", "-", "1.0", "2")


def _without_time(line: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(line).items() if name != "seconds"}
