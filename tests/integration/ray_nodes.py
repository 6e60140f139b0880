"""A Ray cluster of two nodes on this host with a pretended GPU each, in a process of its own.

`python -m tests.integration.ray_nodes` prints the address; a line on stdin removes the second node the hard way;
the end of stdin ends the cluster.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOKEN = "a token of this test run, in a file"  # noqa: S105
_NODE = {"num_cpus": 4, "num_gpus": 1}
# a busy machine is no dead one
_PATIENCE = {
    "RAY_gcs_server_request_timeout_seconds": "120",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_health_check_initial_delay_ms": "60000",
}


@dataclass(frozen=True)
class RayNodes:
    """A running cluster, and the environment of those who may use it."""

    process: "subprocess.Popen[str]"
    address: str
    files: Path  # what Ray writes: logs, sockets
    environment: dict[str, str]

    def remove_second(self) -> None:
        """Kill all processes of that node."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print("remove", file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "removed\n"

    def find_actors(self) -> dict[int, list[int]]:
        """Process ids of the actors that hold a worker, by the one of their node's daemon."""
        found: dict[int, list[int]] = {}
        for pid, title in _list_titles():
            if "ray::HeldWorker" in title or "ray::DetachedWorker" in title:
                found.setdefault(_parent(pid), []).append(pid)
        return found


@contextmanager
def start_ray_nodes(folder: Path, **environment: str) -> Iterator[RayNodes]:
    """Two nodes whose daemons, and so whose workers, have this environment."""
    token = folder / "ray_token"
    token.write_text(TOKEN)
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), **_PATIENCE}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.ray_nodes"],
        env={**os.environ, **environment, **settings, "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address, files = process.stdout.readline().strip(), Path(process.stdout.readline().strip())
        yield RayNodes(process, address, files, settings)
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def _list_titles() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                yield int(entry.name), (entry / "cmdline").read_text(errors="replace")
            except OSError:  # it has just ended
                continue


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _serve() -> None:
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray talks on stdout
    for is_last in (False, False, True):
        try:
            cluster = Cluster(initialize_head=True, head_node_args={**_NODE, "include_dashboard": False})
            second = cluster.add_node(**_NODE)
            break
        except Exception:  # a plain one, after 30 s that cannot be set: on a busy machine the next try may do
            if is_last:
                raise
    print(cluster.address, cluster.head_node.get_session_dir_path(), sep="\n", file=answers, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        print("removed", file=answers, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _serve()
