"""`worker launch --engine ray` on a real cluster of two nodes; needs the extra `ray`."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.program import Program, wait_for
from tests.integration.ray_nodes import RayNodes, start_ray_nodes

pytestmark = pytest.mark.slow
_BUDGET = 10
_LIMIT_S = 400.0


@pytest.fixture
def nodes(program: Program, tmp_path: Path) -> Iterator[RayNodes]:
    with start_ray_nodes(tmp_path, ANOMALYVFM_OPT_HOME=str(program.cluster.home)) as nodes:
        yield nodes


@pytest.fixture
def study(program: Program, request: pytest.FixtureRequest) -> str:
    """Trials that train for some seconds, after the frozen one."""
    space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": 6, "high": 6}}
    changes = {"training": {"steps_per_epoch": 30}, "search": {"trials": _BUDGET, "space": space}}
    return program.create_here("ray-" + request.node.name[-20:], references=["frozen"], **changes)


def launch(program: Program, nodes: RayNodes, study: str, *more: str) -> "subprocess.Popen[str]":
    arguments = ("--engine", "ray", "--address", nodes.address, "--gpus-per-worker", "0.5", "--device", "cpu")
    return program.start("worker", "launch", *arguments, "--study", study, *more, **nodes.environment)


def find_names(program: Program) -> dict[str, int]:
    """Of the workers that run a trial, and their process ids."""
    from anomalyvfm_opt.store.workers import list_workers

    return {row.name: row.pid for row in list_workers(program.store.engine) if row.state == "running"}


def count_running(program: Program, study: str) -> int:
    return sum(t.state.name == "RUNNING" and bool(t.intermediate_values) for t in program.trials(study))


def test_a_study_ends_with_four_half_gpus_while_an_actor_a_node_and_a_worker_leave(
    program: Program, nodes: RayNodes, study: str
) -> None:
    fleet = launch(program, nodes, study, "--count", "4", "--grace-s", "20")
    lines: list[str] = []
    assert fleet.stderr is not None
    reader = threading.Thread(target=lambda: lines.extend(fleet.stderr))  # type: ignore[arg-type]
    reader.start()

    wait_for(lambda: count_running(program, study) >= 3, _LIMIT_S)
    actors = nodes.find_actors()
    assert sorted(len(pids) for pids in actors.values()) == [2, 2]  # half a GPU each, on both nodes
    os.kill(min(actors.items())[1][0], signal.SIGKILL)  # the first node's daemon is the older process
    wait_for(lambda: any("its actor died" in line for line in lines), _LIMIT_S)

    nodes.remove_second()
    wait_for(lambda: any("its node died" in line for line in lines), _LIMIT_S)
    wait_for(lambda: len(find_names(program)) >= 1, _LIMIT_S)
    drained = next(iter(find_names(program)))
    assert program.run_here("worker", "drain", drained).returncode == 0

    fleet.wait(_LIMIT_S)
    reader.join()
    said = "".join(lines)
    usage = program.usage(study)
    assert (usage.complete, usage.used, usage.running, usage.held) == (_BUDGET, _BUDGET, 0, 0), said
    assert fleet.stdout is not None
    table = fleet.stdout.read().splitlines()
    assert not [line for line in table if "raylet" in line]
    assert [line.split()[:3] for line in table if line.split()[:1] == [study]] == [
        [study, f"{_BUDGET}/{_BUDGET}", str(_BUDGET)]
    ]
    assert "4 slots, 7 workers started, 3 restarts" in said
    assert "Traceback" not in said
    assert "killed" not in said  # all workers left by themselves, with their trials given back
    retried = [trial for trial in program.trials(study) if "retry_of" in trial.user_attrs]
    assert retried
