"""`confirm`, `verdict`, `forecast` as their users run them."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from anomalyvfm_opt.store.looks import list_openings
from tests.integration.program import (
    CATEGORY,
    Finished,
    FinishedStudy,
    Program,
    assert_one_error,
    finish,
    make_tiny,
    write_spec,
)

EXIT_CODES = {"ADOPT": 0, "KEEP_BASELINE": 10, "INCONCLUSIVE": 11}
_NINE_TRAININGS_S = 900.0  # on a busy machine
TERMS = {"noise_seeds": 3, "finalists": 1, "race_seeds": 2, "seeds": 3}


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("confirm", "tiny/grass"), 2, ("no study 'tiny/grass'", f"tiny/{CATEGORY}")),
        (("verdict", "nothing"), 2, ("no study 'nothing'",)),
        (("forecast", "add", "nothing/brick", "0.1"), 2, ("no study 'nothing/brick'",)),
        (("forecast", "list", "nothing"), 2, ("no study 'nothing'",)),
        (("confirm", "{study}", "--finalist", "99", "--no-wait"), 2, ("trial 99 of {study} has no parameters",)),
        (("confirm", "{study}", "--again"), 2, ("{study} has no confirmation to repeat",)),
        (("forecast", "add", "{study}", "7"), 2, ("a gain of 7 is no difference of two AUROC",)),
        (("forecast", "add", "{study}", "nan"), 2, ("a gain of nan is no difference",)),
        (("verdict", "{study}", "--exit-code"), 3, ("{study} is not confirmed yet", "confirm {study}")),
        (("verdict", "{study}", "--round", "2"), 3, ("{study} has no round 2",)),
        (("verdict", "tiny"), 3, ("is not confirmed yet", "confirm tiny --workers 2")),
    ],
)
def test_a_mistake_is_one_clear_error(
    program: Program,
    finished_study: FinishedStudy,
    arguments: tuple[str, ...],
    exit_code: int,
    words: tuple[str, ...],
) -> None:
    before = len(program.list_names())
    done = program.run_here(*(argument.format(study=finished_study.name) for argument in arguments))
    shown = assert_one_error(done, exit_code)
    for word in words:
        assert word.format(study=finished_study.name) in shown
    assert done.stdout == ""
    assert len(program.list_names()) == before


@pytest.fixture(scope="module")
def watched(program: Program) -> str:
    """A study whose noise floor is planned."""
    return program.create_here("watched", verdict={"noise_seeds": 3})


@pytest.mark.parametrize("arguments", [("confirm",), ("verdict",), ("predict-gain", "0.1")])
def test_a_sibling_is_not_confirmed_by_itself(program: Program, watched: str, arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    shown = assert_one_error(program.run_here(command, f"{watched}#replicates", *rest), 2)
    assert f"{watched}#replicates is a sibling study" in shown


def test_a_finalist_is_of_one_study(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    from anomalyvfm_opt.spec.model import Spec
    from anomalyvfm_opt.study.creation import create_studies

    monkeypatch.setenv("ANOMALYVFM_OPT_HOME", str(program.cluster.home))
    spec = Spec.model_validate(make_tiny("pair", verdict={"noise_seeds": 0}))
    create_studies(program.store, spec, program.data, [CATEGORY, "grass"])
    shown = assert_one_error(program.run_here("confirm", "pair", "--finalist", "3"), 2)
    assert "--finalist names a trial of one study, and 'pair' names 2" in shown
    assert "pair/brick, pair/grass" in shown
    shown = assert_one_error(program.run_here("confirm", "pair"), 3)
    assert "the search of pair/brick is not over: 4 of 4 trials to go" in shown
    assert "study stop pair/brick" in shown


def test_predictions_are_kept_and_wait_for_their_answer(program: Program, finished_study: FinishedStudy) -> None:
    study = finished_study.name
    done = program.run_here("forecast", "add", study, "0.02", "--note", "a [feeling]", "--source", "an engineer")
    assert done.returncode == 0, done.stderr
    assert "+0.0200 is written down; round 1 of its confirmation will answer" in done.stderr
    assert program.run_here("forecast", "add", study, "-0.01").returncode == 0
    shown = program.run_here("forecast", "list", study)
    assert "a [feeling]" in shown.stdout
    assert "open" in shown.stdout
    listed = json.loads(program.run_here("forecast", "list", "--json").stdout)
    assert listed["schema"] == 1
    first, second = listed["predictions"]
    assert (first["study"], first["source"], first["predicted"]) == (study, "an engineer", 0.02)
    assert (second["predicted"], second["answer"], second["round"]) == (-0.01, None, 1)
    assert listed["sources"] == []


@dataclass(frozen=True)
class Confirmed:
    """A study that was searched and confirmed by commands alone, and what these said."""

    name: str
    before: Finished
    planned: Finished
    done: Finished
    repeated: Finished


@pytest.fixture(scope="module")
def confirmed(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Confirmed:
    changes = {"references": ["frozen", "v1.1"], "search": {"trials": 3}, "verdict": TERMS}
    spec = write_spec(tmp_path_factory.mktemp("whole"), "whole", data={"categories": [CATEGORY]}, **changes)
    created = program.run_here("study", "create", str(spec), "--data", str(program.data))
    assert created.returncode == 0, created.stderr
    name = f"whole/{CATEGORY}"
    assert program.run_here("worker", "run", "--study", "whole", "--threads", "1").returncode == 0
    assert program.run_here("forecast", "add", name, "0.3", "--source", "an optimist").returncode == 0
    before = program.run_here("verdict", name)
    planned = program.run_here("confirm", name, "--no-wait")
    done = finish(program.start("confirm", "whole", "--workers", "1"), _NINE_TRAININGS_S)
    repeated = program.run_here("confirm", name, "--no-wait")
    return Confirmed(name, before, planned, done, repeated)


@pytest.mark.slow
def test_confirm_goes_from_a_finished_search_to_a_verdict(program: Program, confirmed: Confirmed) -> None:
    assert "is not confirmed yet" in assert_one_error(confirmed.before, 3)
    name = confirmed.name
    assert confirmed.planned.returncode == 0, confirmed.planned.stderr
    assert f"{name}#replicates: 2 trainings to do (on search data)" in confirmed.planned.stderr
    assert "then: anomalyvfm-opt confirm" in confirmed.planned.stderr
    assert confirmed.done.returncode == 0, confirmed.done.stderr
    assert f"{name}#confirm: 7 trainings to do (round 1, on the locked images)" in confirmed.done.stderr
    assert "confirmed; next:\n  anomalyvfm-opt verdict whole" in confirmed.done.stderr
    assert confirmed.repeated.returncode == 0, confirmed.repeated.stderr
    assert f"{name}: round 1 of its confirmation is done" in confirmed.repeated.stderr
    assert program.usage(f"{name}#confirm").complete == 7
    assert program.usage(f"{name}#replicates").complete == 3 + 1 + 2
    openings = list_openings(program.store.engine, program.record(name).study_id)
    # confirmations of other tests look at the same images, and are counted as well
    assert [o.scorings for o in openings if o.study_name == f"{name}#confirm"] == [7]


@pytest.mark.slow
@pytest.mark.usefixtures("confirmed")
@pytest.mark.parametrize("name", ["whole/brick", "whole"])
def test_a_verdict_is_a_sentence_a_document_and_an_exit_code(program: Program, name: str) -> None:
    found = json.loads(program.run_here("verdict", name, "--json").stdout)
    assert found["schema"] == 1
    keys = {"verdict", "reason", "action", "confidence", "gain", "cost_ratio"}
    category = {"study", "finalist", "baseline", "seeds", "looks"}
    assert found.keys() >= (keys | category if "/" in name else keys)
    assert found["gain"].keys() == {"estimate", "low", "high"}
    assert found["confidence"] == 0.95
    one = found if "/" in name else found["categories"][0]
    assert (one["study"], one["seeds"]) == ("whole/brick", 3)
    assert (one["looks"], one["scorings"]) >= (1, 7)
    assert one["baseline"]["label"] == "v1.1"
    assert one["finalist"]["label"].startswith("trial ")
    assert len(one["finalist"]["values"]) == 3
    assert [doubt for doubt in one["doubts"] if "LOOKED AT" not in doubt] == []
    shown = program.run_here("verdict", name, "--exit-code")
    assert shown.returncode == EXIT_CODES[found["verdict"]]
    assert shown.stdout.startswith({"KEEP_BASELINE": "KEEP THE BASELINE"}.get(found["verdict"], found["verdict"]))
    assert program.run_here("verdict", name).returncode == 0


@pytest.mark.slow
@pytest.mark.usefixtures("confirmed")
def test_predictions_are_answered_and_no_more_are_taken(program: Program) -> None:
    listed = json.loads(program.run_here("forecast", "list", "whole/brick", "--json").stdout)
    answers = {one["source"]: one["answer"] for one in listed["predictions"]}
    assert list(answers) == ["an optimist", "best trial", "race", "smoothed", "v1.2 rule"]
    verdict = json.loads(program.run_here("verdict", "whole/brick", "--json").stdout)
    assert {answer["confirmed"] for answer in answers.values()} == {verdict["gain"]["estimate"]}
    assert answers["an optimist"]["size"] is (verdict["gain"]["estimate"] >= 0.3)
    assert len(listed["sources"]) == 5
    shown = assert_one_error(program.run_here("forecast", "add", "whole/brick", "0.01"), 2)
    assert "the locked images of whole/brick have been opened" in shown
    assert "How good each source has been" in program.run_here("forecast", "list", "whole").stdout


@pytest.mark.slow
@pytest.mark.parametrize("option", [None, "--baseline", "--frozen"])
def test_the_finalist_is_exported_with_its_verdict(
    program: Program, confirmed: Confirmed, tmp_path: Path, option: str | None
) -> None:
    done = program.run_here("model", "export", confirmed.name, str(tmp_path / "it"), *([option] if option else []))
    assert done.returncode == 0, done.stderr
    provenance = json.loads((tmp_path / "it" / "detector.json").read_text())["provenance"]
    verdict = json.loads(program.run_here("verdict", confirmed.name, "--json").stdout)
    stated = provenance["verdict"]
    assert stated["is_about_this_trial"] is (option is None)
    assert stated["finalist"] == verdict["finalist"]["label"]
    assert (stated["verdict"], stated["gain"]) == (verdict["verdict"], verdict["gain"])
    guide = (tmp_path / "it" / "README.md").read_text()
    assert f"{verdict['gain']['estimate']:+.4f} (95% interval {verdict['gain']['low']:+.4f} to" in guide
    assert ("which is another trial than this" in guide) is (option is not None)
    if option is None:
        assert f"trial {provenance['trial']}, the finalist of confirmation round 1" in done.stderr
        assert stated["finalist"] == f"trial {provenance['trial']}"


@pytest.mark.slow
def test_a_study_with_a_confirmation_is_shown_listed_and_deleted_as_one(
    program: Program, confirmed: Confirmed, tmp_path: Path
) -> None:
    shown = program.run_here("study", "show", confirmed.name)
    assert shown.returncode == 0, shown.stderr
    listed = json.loads(program.run_here("study", "list", "--json").stdout)
    states = {one["name"]: one["state"] for one in listed["studies"] if one["name"].startswith("whole/")}
    assert states == dict.fromkeys(
        (confirmed.name, f"{confirmed.name}#replicates", f"{confirmed.name}#confirm"), "finished"
    )
    assert program.run_here("study", "delete", confirmed.name, "--yes").returncode == 0
    assert not [name for name in program.list_names() if name.startswith("whole/")]
