"""Connect to a Ray cluster with its token, or say what is missing."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import place_in_home, read_plain
from anomalyvfm_opt.launch.places import Node

NAMESPACE = "anomalyvfm_opt"
_MODE = "RAY_AUTH_MODE"
_MOST_TOKEN_BYTES = 2**16
_CONNECT_S = 10.0
_CLIENT = "ray://"
_TOKEN_HINT = (
    "copy what `ray get-auth-token` prints on the head node into ~/.ray/auth_token (mode 0600), or name its"
    f" file in RAY_AUTH_TOKEN_PATH; for a cluster without tokens set {_MODE}=disabled"
)


def connect(address: str) -> list[Node]:
    """Join a running cluster; this process is Ray's driver from now on.

    Args:
        address: `HOST:PORT` of the head, on one of the cluster's machines; `auto` for the cluster of this machine;
            `ray://HOST:10001` from outside.

    Returns:
        Its living nodes.

    Raises:
        UsageError: not an address.
        EnvironmentMissingError: no Ray here, no token, the wrong one, or no cluster there.
    """
    prepare_authentication()
    _import_ray()
    _probe(address)
    return _join(address)


def prepare_authentication() -> None:
    """Ray's token authentication, unless the environment says otherwise; before Ray is imported.

    Raises:
        EnvironmentMissingError: there is no token, and Ray would abort.
    """
    if os.environ.setdefault(_MODE, "token").lower() != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else place_in_home(".ray/auth_token")
    try:
        has_token = bool(read_plain(file, _MOST_TOKEN_BYTES).strip())
    except OSError:
        has_token = False
    if not has_token:
        raise EnvironmentMissingError(f"Ray's token authentication is on, and {file} holds no token", _TOKEN_HINT)


def _import_ray() -> None:
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise EnvironmentMissingError(
            f"Ray is not installed here ({error})", "pip install 'anomalyvfm-opt[ray]'"
        ) from None


def _probe(address: str) -> None:
    """Ray would try for minutes, and may abort the process."""
    if address == "auto":
        return
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(
            f"--address: {address!r} is no address", "HOST:PORT of the head, ray://HOST:10001, or auto"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise EnvironmentMissingError(
            f"no Ray cluster at {address} ({error})",
            "`ray status` on the head node says where it is; is a firewall between?",
        ) from None


def _join(address: str) -> list[Node]:
    import ray
    from ray.exceptions import RayError

    try:
        ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RayError, RuntimeError, ValueError, ImportError) as error:
        # what Ray says of a refused token goes into its log; the error itself does not tell
        raise EnvironmentMissingError(
            f"cannot join the Ray cluster at {address}: {str(error).strip().splitlines()[0]}",
            f"if the lines above speak of a token, ours is not the cluster's: {_TOKEN_HINT}; else: HOST:PORT works"
            " on the cluster's own machines only (`ray start --address HOST:PORT` makes this one)",
        ) from error
    _silence()
    return list_nodes()


def _silence() -> None:
    """Ray prints half a page about each dead actor and node on stdout, where data goes; the supervisor says it.

    `log_to_driver=False` does not stop these, and no public setting does; a test holds the private one.
    """
    import ray._private.worker

    ray._private.worker._worker_logs_enabled = False


def list_elsewhere(nodes: Sequence[Node]) -> list[str]:
    """Return the addresses of those nodes that are not on this host."""
    import ray.util

    here = (ray.util.get_node_ip_address(), "127.0.0.1")
    return [node.address for node in nodes if node.address not in here]


def list_nodes() -> list[Node]:
    """Return the living nodes of the cluster that this process has joined."""
    import ray

    return [
        Node(node["NodeManagerAddress"], node["Resources"].get("GPU", 0.0), node["Resources"].get("CPU", 0.0))
        for node in ray.nodes()
        if node["Alive"]
    ]
