"""The reference `heads`, and trials without an adapter: trained, shown, repeated, exported and planned."""

import json
from pathlib import Path

import pytest
import yaml

from anomalyvfm_opt.store.scores import read_metrics
from anomalyvfm_opt.store.trial_record import TrialRecord
from tests.integration.program import CATEGORY, Program, write_spec

_SEARCH = {"trials": 4, "startup_trials": 4, "space": {"adapter": ["none"], "epochs": {"low": 1, "high": 1}}}


@pytest.fixture(scope="module")
def study(program: Program, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A finished study: three references, and one trial that the sampler drew."""
    file = write_spec(
        tmp_path_factory.mktemp("heads"),
        "headed",
        references=["frozen", "heads", "v1.1"],
        search=_SEARCH,
        verdict={"noise_seeds": 0},
    )
    assert program.create(file).returncode == 0
    done = program.run_here("worker", "run", "headed", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "4 completed" in done.stderr
    return f"headed/{CATEGORY}"


def test_heads_are_trained_and_the_network_is_not(program: Program, study: str) -> None:
    frozen, heads, adapted, drawn = program.trials(study)
    records = [TrialRecord.from_attributes(trial.user_attrs) for trial in (frozen, heads, adapted, drawn)]
    assert [record.reference for record in records] == ["frozen", "heads", "v1.1", None]
    assert adapted.value is not None
    untouched = read_metrics(program.store.engine, frozen._trial_id)
    for headed in (heads, drawn):
        found = read_metrics(program.store.engine, headed._trial_id)
        assert found.keys() - untouched.keys() == {"predictor", "decoder"}
        assert all(found[name] == untouched[name] for name in ("patch_knn", "mahalanobis"))


def test_it_is_shown_without_what_an_adapter_has(program: Program, study: str) -> None:
    shown = program.run_here("study", "show", study)
    assert shown.returncode == 0, shown.stderr
    assert "heads" in shown.stdout.splitlines()[1].split()
    one = program.run_json("trial", "show", study, "1")
    assert (one["reference"], one["params"]["adapter"]) == ("heads", "none")
    rows = {line.split()[0] for line in program.run_here("trial", "show", study, "1").stdout.splitlines() if line}
    assert {"adapter", "epochs", "synthesis_count"} <= rows
    assert not {"rank", "alpha", "targets", "adapted_blocks", "learning_rate"} & rows


def test_the_best_of_them_is_repeated_and_exported(program: Program, study: str, tmp_path: Path) -> None:
    printed = program.run_here("study", "best", study, "--spec")
    assert printed.returncode == 0, printed.stderr
    assert yaml.safe_load(printed.stdout)["name"]
    made = program.run_here("model", "export", study, str(tmp_path / "it"), "--trial", "1", "--scorer", "decoder")
    assert made.returncode == 0, made.stderr
    assert "are those of the trial within" in made.stderr
    card = json.loads((tmp_path / "it" / "detector.json").read_text())
    assert card["adapter"]["kind"] == "none"
    assert not (tmp_path / "it" / "adapter").exists()
    assert program.run_here("model", "check", str(tmp_path / "it")).returncode == 0


def test_a_plan_has_its_seconds_and_its_outputs(program: Program, tmp_path: Path) -> None:
    file = write_spec(tmp_path, "headed_plan", references=["frozen", "heads", "v1.1"], search={"trials": 4})
    planned = program.run_json("study", "plan", str(file), "--data", str(program.data), "--category", CATEGORY)
    (study,) = planned["studies"]
    assert 0 < study["seconds"]["expected"] < study["total_seconds"]["expected"]
