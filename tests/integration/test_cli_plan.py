"""`study plan`: reckons before anything is written, and writes nothing itself."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from threadpoolctl import threadpool_limits

from anomalyvfm_opt.bench.trial_run import TrialRun
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import load_images, load_masks
from anomalyvfm_opt.data.geometry import choose_geometry
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.data.split import divide
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.evaluation.exam import Exam
from anomalyvfm_opt.evaluation.exam_papers import set_exams
from anomalyvfm_opt.evaluation.scorer_bank import ScorerBank, Scores
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.plan.amounts import count_bytes
from anomalyvfm_opt.plan.probe import measure
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.verdict.resolution import resolve
from tests.integration.place import Place
from tests.integration.program import (
    CATEGORY,
    FinishedStudy,
    Program,
    assert_one_error,
    make_tiny,
    write_spec,
)

TINY_SPACE = make_tiny("any")["search"]["space"]
ONE_CHOICE = {**TINY_SPACE, "targets": ["attention"], "adapted_blocks": ["all"]}  # each choice is measured


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Where other processes use the cores as well, threads that wait for each other cost minutes."""
    with threadpool_limits(1):
        yield


def plan(program: Program, spec: Path, data: Path, *arguments: str, **environment: str) -> dict[str, object]:
    run = program.run if "TMPDIR" in environment else program.run_here  # this process has chosen its folder
    done = run(
        "study", "plan", str(spec), "--data", str(data), "--threads", "1", "--json", *arguments, **environment
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_plan_is_reckoned_and_nothing_is_written(program: Program, place: Place) -> None:
    """Neither a state folder is made, nor a row in the store, nor a file left in the temporary folder."""
    home, temporary = place.folder / "home", place.folder / "temporary"
    temporary.mkdir()
    before = place.count_rows()
    environment = {**place.server.environment, "ANOMALYVFM_OPT_HOME": str(home), "TMPDIR": str(temporary)}
    found = plan(program, write_spec(place.folder, "planned"), place.data, **environment)
    assert place.count_rows() == before
    assert not home.exists()
    assert not [path for path in temporary.iterdir() if path.name.startswith("anomalyvfm-opt")]
    (study,) = found["studies"]  # type: ignore[misc]
    assert study["name"] == f"planned/{CATEGORY}"
    assert (study["trials"], study["done"], study["is_decoded"]) == (4, 0, False)
    assert 0 < study["seconds"]["low"] < study["seconds"]["expected"] < study["seconds"]["high"]
    assert study["start_seconds"] > 0
    assert study["images"] == "64x64 px"
    assert study["locked_scenes"] == {"good": 12, "bad": 12}
    assert 0.05 < study["half_width"] < study["smallest_gain"] < 0.4
    total = found["total"]["seconds"]  # type: ignore[index]
    assert total["expected"] == pytest.approx(study["seconds"]["expected"] + study["start_seconds"])


def test_what_is_done_is_not_counted_again(program: Program, finished_study: FinishedStudy) -> None:
    """Of a finished study nothing is left, and its images are in the cache."""
    found = plan(program, finished_study.spec_file, program.data, "--category", CATEGORY)
    (study,) = found["studies"]  # type: ignore[misc]
    assert (study["done"], study["is_decoded"]) == (4, True)
    assert study["seconds"] == {"low": 0.0, "expected": 0.0, "high": 0.0}
    assert study["start_seconds"] == 0
    of_all = resolve(**{f"{label}_scenes": count for label, count in study["locked_scenes"].items()}, categories=3)
    assert of_all is not None
    assert study["smallest_gain"] == pytest.approx(of_all.smallest_gain)  # the spec has two more categories


def test_the_table_says_what_it_stands_on(program: Program, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, "shown", data={"lock": "all"}, search={"space": ONE_CHOICE})
    done = program.run_here("study", "plan", str(spec), "--data", str(program.data), "--threads", "1")
    assert done.returncode == 0, done.stderr
    for category in ("brick", "grass", "gravel"):
        assert f"shown/{category}" in done.stdout
    assert "4 of 4" in done.stdout
    assert "one CPU" in done.stdout
    said = done.stderr.splitlines()
    assert said[0].startswith("measuring a few steps of shown on cpu")
    assert said[1].strip().startswith("at 64 px: decoding")  # it is not silent while it measures
    assert said[2].strip().startswith("at 64 px: a frozen trial")
    assert any(line.startswith("measured on brick") for line in said)
    assert "could show for the mean over these 3 categories: about 0." in done.stderr
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= 80, done.stdout
    (total,) = (line for line in done.stdout.splitlines() if line.startswith("total"))
    search, after, both = map(float, total.split()[1:4])
    assert both == pytest.approx(search + after, rel=0.02)  # what follows the search is in the total
    assert after > 0


@pytest.mark.parametrize("chosen", [(), ("--category", "brick"), ("--category", "brick", "--category", "grass")])
def test_creation_and_plan_name_the_same_smallest_gain(
    program: Program, tmp_path: Path, chosen: tuple[str, ...]
) -> None:
    """Of all categories that of their mean; of some of them each one's, since there is no mean over some."""
    spec = write_spec(tmp_path, f"resolved{len(chosen)}", search={"space": ONE_CHOICE})
    where = (str(spec), "--data", str(program.data), *chosen)
    planned = program.run_here("study", "plan", *where, "--threads", "1")
    created = program.run_here("study", "create", *where)
    said = [
        [line for line in done.stderr.splitlines() if line.startswith("smallest gain")]
        for done in (planned, created)
    ]
    assert said[0] == said[1]
    assert len(said[0]) == max(1, len(chosen) // 2)
    assert ("the mean over these 3 categories" in said[0][0]) == (not chosen)
    of_one = resolve(12, 12, categories=3)
    assert of_one is not None
    assert not chosen or f"about {of_one.smallest_gain:.3f} AUROC" in said[0][0]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        ((), 2, "--data DIR"),
        (("--data", "{folder}/none"), 3, "{folder}/none"),
        (("--data", "{data}", "--category", "brik"), 2, "did you mean 'brick'"),
        (("--data", "{data}", "--db", "postgresql://u@127.0.0.1:1/x"), 3, "nothing answers"),
    ],
)
def test_a_mistake_is_one_clear_error(
    program: Program, tmp_path: Path, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    places = {"folder": tmp_path, "data": program.data}
    spec = str(write_spec(tmp_path, "planned"))
    done = program.run_here("study", "plan", spec, *(argument.format(**places) for argument in arguments))
    assert words.format(**places) in assert_one_error(done, exit_code)


def test_the_probe_scores_two_trials_and_no_more(program: Program) -> None:
    """A frozen trial and one adapted trial, on two exams: every other choice is looked at for a few steps only."""
    spec = Spec.model_validate(make_tiny("probed", search={"space": {**TINY_SPACE, "adapter": ["lora", "dora"]}}))
    split = divide(read_category(program.data, CATEGORY), "half")
    with patch.object(TrialRun, "_score", autospec=True, side_effect=TrialRun._score) as score:
        probe = measure(spec, split, torch.device("cpu"), None, lambda _line: None)
    assert score.call_count == 4
    assert probe.costs.step > 0
    assert set(probe.costs.adapters) == {"lora", "dora"}
    assert set(probe.costs.blocks) == {"all", 2, 4, 6}


def test_the_synthetic_exam_is_a_fixed_cost_of_a_trial(program: Program) -> None:
    """With labelled images it is sat once, so it must not be multiplied by the epochs."""
    spec = Spec.model_validate(make_tiny("probed", search={"space": ONE_CHOICE}))
    split = divide(read_category(program.data, CATEGORY), "half")
    score = TrialRun._score

    def sit_slowly(run: TrialRun, bank: ScorerBank, detector: Detector, exam: Exam) -> Scores:
        if exam is run._bench.exams.synthetic:
            time.sleep(3.0)
        return score(run, bank, detector, exam)

    with patch.object(TrialRun, "_score", autospec=True, side_effect=sit_slowly):
        costs = measure(spec, split, torch.device("cpu"), None, lambda _line: None).costs
    assert costs.fixed > 3.0
    assert costs.frozen > 3.0
    assert costs.scoring < 3.0


@pytest.mark.parametrize("lock", ["half", "all"])
def test_the_disk_is_what_the_arrays_take(program: Program, tmp_path: Path, lock: str) -> None:
    spec = Spec.model_validate(make_tiny("planned", data={"lock": lock}))
    split = divide(read_category(program.data, CATEGORY), lock)
    geometry = choose_geometry(spec.data, split.fit)
    arrays = ArrayStore(tmp_path)
    for records in split.roles.values():
        if records:
            load_images(arrays, records, geometry)
    load_masks(arrays, (*split.search, *split.locked), geometry)
    before = sum(path.stat().st_size for path in tmp_path.glob("*.npy"))
    set_exams(arrays, split, geometry, spec.scoring.exam_images)
    taken = sum(path.stat().st_size for path in tmp_path.glob("*.npy")) - before
    expected = count_bytes(geometry, split, 0, spec.scoring.exam_images)
    search_masks = len(split.search) * 64 * 64
    assert before + taken - search_masks == pytest.approx(expected, rel=0.01)
    assert taken - search_masks == pytest.approx(4 * (8 + 9) * 64 * 64, rel=0.01)


def test_what_does_not_fit_the_device_is_said_with_what_to_do(program: Program) -> None:
    """A GPU that is too small cannot be had here: the error that torch raises then is put in its place."""
    spec = Spec.model_validate(make_tiny("probed"))
    split = divide(read_category(program.data, CATEGORY), "half")
    with (
        patch.object(TrialRun, "_score", side_effect=torch.OutOfMemoryError("CUDA out of memory")),
        pytest.raises(EnvironmentMissingError, match="cannot be run on cpu: CUDA out of memory") as caught,
    ):
        measure(spec, split, torch.device("cpu"), None, lambda _line: None)
    assert "batch_size" in caught.value.hint


def test_a_study_of_another_spec_is_named_and_its_trials_do_not_count(
    program: Program, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    spec = write_spec(tmp_path, "tiny", search={"trials": 9})
    done = program.run_here(
        "study", "plan", str(spec), "--data", str(program.data), "--category", CATEGORY, "--threads", "1"
    )
    assert done.returncode == 0, done.stderr
    assert "note: tiny/brick exists with another spec (search.trials: 4 -> 9)" in done.stderr
    assert "9 of 9" in done.stdout
