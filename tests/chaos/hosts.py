"""Hosts with a network of their own: namespaces with addresses, joined by a bridge; root only, Linux only."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.program import finish

NEEDS_NAMESPACES = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces take root and iproute2"
)
_NET = f"10.213.{os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw')}"  # one each, side by side
_LINK = "eth0"


@dataclass(frozen=True)
class Host:
    """One host; `address` is its own."""

    namespace: str
    address: str

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The same command, as this host would run it."""
        return ["ip", "netns", "exec", self.namespace, *arguments]

    def cut_off(self) -> None:
        """Pull its cable: packets are lost without a word, as on a real network."""
        _ip("-n", self.namespace, "link", "set", _LINK, "down")

    def join(self) -> None:
        """Plug the cable in again."""
        _ip("-n", self.namespace, "link", "set", _LINK, "up")


@dataclass(frozen=True)
class Site:
    """The program on a host: a state folder of its own, and the folder of artifacts that all share."""

    host: Host
    folder: Path

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANOMALYVFM_OPT_")}
        ours = {
            "ANOMALYVFM_OPT_HOME": str(self.folder / self.host.namespace),
            "ANOMALYVFM_OPT_ARTIFACTS": str(self.folder / "artifacts"),
        }
        command = self.host.command([sys.executable, "-m", "anomalyvfm_opt", *arguments])
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env={**kept, **ours, **environment}, text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    def run(self, *arguments: str, **environment: str) -> str:
        done = finish(self.start(*arguments, **environment))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def invite(self, *arguments: str) -> dict[str, str]:
        """Run `db up --listen`, and do what it says with a copy of the password file: settings of other hosts."""
        done = finish(self.start(*arguments))
        assert done.returncode == 0, done.stderr
        passfile, url = re.findall(r"copy (\S+) there|export ANOMALYVFM_OPT_DB_URL=(\S+)", done.stderr)
        copy = self.folder / "copied.passfile"
        shutil.copyfile(passfile[0], copy)
        copy.chmod(0o600)
        return {"ANOMALYVFM_OPT_DB_URL": url[1], "PGPASSFILE": str(copy)}


@contextmanager
def network_of(*names: str) -> Iterator[list[Host]]:
    """Hosts that reach each other, and that this process reaches; all of it is gone at the end."""
    mark = f"avo{os.getpid() % 100000}"
    bridge = f"{mark}b"
    hosts = [Host(f"{mark}-{name}", f"{_NET}.{index}") for index, name in enumerate(names, start=1)]
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{_NET}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for index, host in enumerate(hosts):
            ours = f"{mark}v{index}"
            _ip("netns", "add", host.namespace)
            _ip("link", "add", ours, "type", "veth", "peer", "name", _LINK, "netns", host.namespace)
            _ip("link", "set", ours, "master", bridge, "up")
            _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", _LINK)
            _ip("-n", host.namespace, "link", "set", "lo", "up")
            host.join()
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "delete", host.namespace], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", bridge], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
