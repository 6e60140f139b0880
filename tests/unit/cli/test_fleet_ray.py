"""What `worker launch --engine ray` passes on to its workers, and how many it lays out; runs without Ray."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.main import get_command

from anomalyvfm_opt.cli.fleet.ray import RayOptions, _lay_out, _list_arguments
from anomalyvfm_opt.cli.worker import app
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.launch.places import Needs, Node

NODES = [Node("10.0.0.7", 1.0, 4.0), Node("10.0.0.8", 1.0, 4.0)]
HALF = Needs(0.5, 1.0)
STORE: Any = SimpleNamespace(url="postgresql+psycopg2://host/studies")


def parse(*typed: str) -> typer.Context:
    command: Any = get_command(app)
    context: typer.Context = command.commands["launch"].make_context("launch", ["--engine", "ray", *typed])
    return context


def options(count: int | None, is_elastic: bool = False) -> RayOptions:
    return RayOptions("auto", HALF, count, False, is_elastic)


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


def test_without_a_count_the_cluster_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", "/on/each/node")
    slots = _lay_out(options(None), NODES)
    assert [slot.number for slot in slots] == [1, 2, 3, 4]
    assert slots[0].environment == {"PGPASSFILE": "/on/each/node"}  # a path, never what is in the file


def test_a_cluster_without_room_is_described() -> None:
    with pytest.raises(EnvironmentMissingError) as caught:
        _lay_out(options(5), NODES)
    assert "5 workers with 0.5 GPUs and 1 CPU each do not fit" in caught.value.message
    assert "10.0.0.7: 1 GPU, 4 CPUs; 10.0.0.8: 1 GPU, 4 CPUs" in caught.value.message
    assert "room for 4" in caught.value.hint
    with pytest.raises(EnvironmentMissingError, match="no room for 1 worker with"):
        _lay_out(options(None), [Node("head", 0.0, 8.0)])


def test_a_cluster_that_grows_is_believed() -> None:
    assert len(_lay_out(options(5, is_elastic=True), [])) == 5
    with pytest.raises(UsageError, match="--elastic without --count"):
        _lay_out(options(None, is_elastic=True), NODES)
