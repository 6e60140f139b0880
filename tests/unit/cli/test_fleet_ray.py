"""What `worker launch --engine ray` passes on to its workers; runs without Ray."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.main import get_command

from anomalyvfm_opt.cli.fleet.ray import _list_arguments, _list_environment
from anomalyvfm_opt.cli.worker import app
from anomalyvfm_opt.launch.places import Needs

HALF = Needs(0.5, 1.0)
STORE: Any = SimpleNamespace(url="postgresql+psycopg2://host/studies")


def parse(*typed: str) -> typer.Context:
    command: Any = get_command(app)
    context: typer.Context = command.commands["launch"].make_context("launch", ["--engine", "ray", *typed])
    return context


def test_what_is_typed_is_passed_on() -> None:
    typed = ("--study", "a", "--study", "b", "--keep-running", "--grace-s", "20", "--data", "/images")
    arguments = _list_arguments(parse(*typed, "--device", "cpu", "--count", "3"), STORE, Needs(0.5, 2.5))
    assert arguments[:4] == ["--db", STORE.url, "--threads", "2"]
    assert sorted(arguments[4:]) == sorted([*typed[:6], "20.0", *typed[7:], "--device", "cpu"])
    assert arguments[arguments.index("--grace-s") + 1] == "20.0"


def test_a_folder_is_meant_where_it_was_typed() -> None:
    arguments = _list_arguments(parse("--data", "images", "--weights", "~/w.safetensors"), STORE, HALF)
    assert arguments[arguments.index("--data") + 1] == str(Path("images").absolute())
    assert arguments[arguments.index("--weights") + 1] == str(Path("~/w.safetensors").expanduser())


def test_what_the_environment_says_here_is_left_to_that_of_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "WEIGHTS", "GRACE_S", "DEVICE"):
        monkeypatch.setenv(f"ANOMALYVFM_OPT_{name}", "7")
    assert _list_arguments(parse(), STORE, HALF) == ["--db", STORE.url, "--threads", "1"]


@pytest.mark.parametrize(("gpus", "device"), [(0.5, "cuda"), (0.0, "cpu")])
def test_a_worker_that_holds_a_gpu_uses_it(monkeypatch: pytest.MonkeyPatch, gpus: float, device: str) -> None:
    monkeypatch.delenv("ANOMALYVFM_OPT_DEVICE", raising=False)
    assert _list_arguments(parse(), STORE, Needs(gpus, 1.0))[-2:] == ["--device", device]


def test_of_the_environment_a_path_is_passed_on_and_never_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.delenv("PGPASSFILE", raising=False)
    assert _list_environment() == {}
    monkeypatch.setenv("PGPASSFILE", "/on/each/node")
    assert _list_environment() == {"PGPASSFILE": "/on/each/node"}
