"""The deployment, with its database running and its tables made."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.deployment import Deployment, make_deployment
from tests.integration.program import Program


def find_ports(count: int) -> list[int]:
    """Ports of this host that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="package")
def deployment(program: Program) -> Iterator[Deployment]:
    folder = Path(tempfile.mkdtemp(prefix="anomalyvfm-opt-test-"))
    folder.chmod(0o711)  # for root the server runs as another user, who has to pass through
    deployment = make_deployment(folder, program.data, *find_ports(2))
    try:
        with deployment.running_database():
            prepared = deployment.run("prepare")
            assert prepared.returncode == 0, prepared.stderr
            yield deployment
    finally:
        shutil.rmtree(folder)
