"""A finalist that is the baseline itself is never adopted, whatever the seeds: real trainings, the whole path."""

import json

import pytest

from tests.integration.program import Program

_ROUNDS = 6


def _work(program: Program, name: str) -> None:
    done = program.run_here("worker", "run", "--study", name, "--threads", "1")
    assert done.returncode == 0, done.stderr


def _confirm(program: Program, name: str, *wishes: str) -> None:
    """A round from its plan to its end; the wishes hold until it is planned."""
    while True:
        done = program.run_here("confirm", name, "--no-wait", *wishes)
        assert done.returncode == 0, done.stderr
        if "confirmed; next" in done.stderr:
            return
        wishes = () if "#confirm" in done.stderr else wishes
        _work(program, name)


@pytest.mark.slow
def test_a_finalist_without_an_effect_is_never_adopted(program: Program) -> None:
    changes = {
        "references": ["frozen", "v1.1"],
        "search": {"trials": 2},
        "training": {"steps_per_epoch": 1},
        "scoring": {"fit_images": 8, "memory_patches": 64, "exam_images": 8},
        "verdict": {"seeds": 3, "race_seeds": 2, "noise_seeds": 3},
    }
    name = program.create_here("no-effect", **changes)
    _work(program, name)
    (reference,) = (trial for trial in program.trials(name) if trial.user_attrs.get("reference") == "v1.1")
    verdicts, estimates = [], []
    for number in range(1, _ROUNDS + 1):
        again = () if number == 1 else ("--again", "--reason", "no effect")
        _confirm(program, name, "--finalist", str(reference.number), *again)
        found = json.loads(program.run_here("verdict", name, "--json").stdout)
        assert found["round"] == number
        assert found["looks"] >= number  # other tests may have looked at the same images
        assert found["finalist"]["label"] == f"trial {reference.number}"
        assert found["finalist"]["params"] == found["baseline"]["params"]
        assert set(found["finalist"]["values"]) != set(found["baseline"]["values"])  # other seeds
        verdicts.append(found["verdict"])
        estimates.append(found["gain"]["estimate"])
    assert "ADOPT" not in verdicts, (verdicts, estimates)
    assert len(set(estimates)) > 1
