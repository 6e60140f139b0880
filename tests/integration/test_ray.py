"""`worker launch --engine ray` on a real cluster of two nodes; needs the extra `ray`.

The tests share the cluster; the last one removes a node of it.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.process_watch import Watch, watching
from tests.integration.program import Program, assert_one_error, finish, wait_for
from tests.integration.ray_nodes import TOKEN, RayNodes, start_ray_nodes

pytestmark = pytest.mark.ray
_BUDGET = 8
_LIMIT_S = 400.0
_FLEETS: "list[subprocess.Popen[str]]" = []


@pytest.fixture(scope="module")
def nodes(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    folder = tmp_path_factory.mktemp("ray")
    with start_ray_nodes(folder, ANOMALYVFM_OPT_HOME=str(program.cluster.home)) as nodes:
        yield nodes


@pytest.fixture
def study(program: Program, request: pytest.FixtureRequest) -> str:
    """Trials that train for some seconds, or longer than a lost node goes unseen; after the frozen one."""
    steps = 200 if "a_node" in request.node.name else 20
    space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": 4, "high": 4}}
    changes = {"training": {"steps_per_epoch": steps}, "search": {"trials": _BUDGET, "space": space}}
    return program.create_here("ray-" + request.node.name[-20:], references=["frozen"], **changes)


def launch(program: Program, nodes: RayNodes, study: str, *more: str) -> "subprocess.Popen[str]":
    arguments = ("--engine", "ray", "--address", nodes.address, "--gpus-per-worker", "0.5", "--device", "cpu")
    fleet = program.start("worker", "launch", *arguments, "--study", study, *more, **nodes.environment)
    _FLEETS.append(fleet)
    return fleet


@pytest.fixture(autouse=True)
def _no_fleet_is_left() -> Iterator[None]:
    """A test that failed must not leave its own to the next one."""
    yield
    while _FLEETS:
        fleet = _FLEETS.pop()
        fleet.kill()
        fleet.wait()


def find_names(program: Program) -> dict[str, int]:
    """Of the workers that run a trial, and their process ids."""
    from anomalyvfm_opt.store.workers import list_workers

    return {row.name: row.pid for row in list_workers(program.store.engine) if row.state == "running"}


@pytest.fixture
def secrets(program: Program) -> tuple[str, str]:
    """The database's password and the cluster's token."""
    password = program.cluster.passfile.read_text().splitlines()[0].rpartition(":")[2]
    assert len(password) > 8
    return password, TOKEN


def find_in_files(nodes: RayNodes, secrets: tuple[str, str]) -> list[Path]:
    """Files of Ray with a secret in them."""
    texts = {path: path.read_text(errors="replace") for path in nodes.files.rglob("*") if path.is_file()}
    assert any("HeldWorker" in text for text in texts.values())
    return [path for path, text in texts.items() if any(secret in text for secret in secrets)]


@pytest.fixture
def watch(secrets: tuple[str, str]) -> Iterator[Watch]:
    """Of all processes, while the test runs."""
    with watching(*secrets, every_s=0.2) as watch:
        yield watch


def count_running(program: Program, study: str) -> int:
    return sum(t.state.name == "RUNNING" and bool(t.intermediate_values) for t in program.trials(study))


def test_what_is_missing_is_said_before_anything_is_placed(
    program: Program, nodes: RayNodes, study: str, tmp_path: Path
) -> None:
    too_many = finish(launch(program, nodes, study, "--count", "5"))
    assert "no room for 5 workers with 0.5 GPUs and 1 CPU each" in assert_one_error(too_many, 3)
    assert "1 GPU, 4 CPUs" in too_many.stderr
    assert "it has room for 4" in too_many.stderr
    (tmp_path / "other").write_text("the token of another cluster")
    other = replace(nodes, environment={**nodes.environment, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "other")})
    refused = finish(launch(program, other, study, "--count", "1"))
    assert "ours is not the cluster's" in assert_one_error(refused, 3)


def test_workers_whose_launcher_is_killed_give_their_trials_back(
    program: Program, nodes: RayNodes, study: str
) -> None:
    fleet = launch(program, nodes, study, "--count", "1", "--grace-s", "600")
    wait_for(lambda: count_running(program, study) >= 1, _LIMIT_S)
    fleet.kill()
    fleet.communicate()
    wait_for(lambda: program.usage(study).running == 0, _LIMIT_S)  # long before the grace is over
    assert not find_names(program)
    usage = program.usage(study)
    assert (usage.used, usage.held) == (usage.complete, 0)


def test_detached_workers_start_again_and_end_with_the_study(
    program: Program, nodes: RayNodes, study: str
) -> None:
    done = finish(launch(program, nodes, study, "--count", "2", "--detach", "--grace-s", "20"), _LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "worker drain all" in done.stderr
    wait_for(lambda: len(find_names(program)) >= 1 and count_running(program, study) >= 1, _LIMIT_S)
    name, pid = next(iter(find_names(program).items()))
    os.kill(pid, signal.SIGKILL)  # the worker process itself
    again = name.rpartition(".")[0] + ".2"
    wait_for(lambda: again in program.run_here("worker", "list", "--all").stdout, _LIMIT_S)
    wait_for(lambda: program.usage(study).complete == _BUDGET, _LIMIT_S)
    wait_for(lambda: not nodes.find_actors(), _LIMIT_S)
    usage = program.usage(study)
    assert (usage.used, usage.running, usage.held) == (_BUDGET, 0, 0)


def test_a_study_ends_with_four_half_gpus_while_an_actor_a_node_and_a_worker_leave(
    program: Program, nodes: RayNodes, study: str, secrets: tuple[str, str], watch: Watch
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
    wait_for(lambda: sum("its node died" in line for line in lines) == 2, _LIMIT_S)
    lost = {line.split("]")[0] + "]" for line in lines if "its actor died" in line or "its node died" in line}
    left = next(iter({"[1]", "[2]", "[3]", "[4]"} - lost)).strip("[]")
    wait_for(lambda: any(name.endswith(f"-{left}.1") for name in find_names(program)), _LIMIT_S)
    drained = next(name for name in find_names(program) if name.endswith(f"-{left}.1"))
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
    assert not find_in_files(nodes, secrets)
    assert (watch.looks > 100, watch.found) == (True, set())
