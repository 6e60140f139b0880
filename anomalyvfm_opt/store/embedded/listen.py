"""Where the embedded server listens beside 127.0.0.1: an address of this host, for workers on other hosts."""

import ipaddress
import re
import socket

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError

LOCAL = "127.0.0.1"
_EVERY_IPV4, _EVERY_IPV6 = "0.0.0.0", "::"  # noqa: S104 - only where the user asks for it
_NOT_ROUTED = {_EVERY_IPV4: "192.0.2.1", _EVERY_IPV6: "2001:db8::1"}  # reserved for documentation
_BACK = f"`ip address` lists its addresses; `anomalyvfm-opt db up --listen {LOCAL}` goes back to this host alone"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def read_address(given: str) -> str:
    """Return an address or a host's name in one spelling; 127.0.0.1 for this host alone.

    Args:
        given: of `--listen`: an IPv4 or IPv6 address, a name, or `0.0.0.0` or `::` for all addresses.

    Raises:
        UsageError: it is neither an address nor a name.
    """
    bare = given.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        if _NAME.fullmatch(bare):
            return LOCAL if bare == "localhost" else bare
    raise UsageError(
        f"--listen {given!r} is neither an address nor a host's name",
        "give one address of this host, such as 10.0.0.5; 0.0.0.0 for all of them",
    )


def find_addresses(chosen: str) -> tuple[str, ...]:
    """Return what the server is told to listen on, 127.0.0.1 always among it.

    Args:
        chosen: from `read_address`.

    Raises:
        EnvironmentMissingError: it is not an address of this host, or its name is not known (now).
    """
    if chosen in (LOCAL, _EVERY_IPV4):
        return (chosen,)
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(chosen, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        raise EnvironmentMissingError(f"--listen {chosen}: this host does not know that name", _BACK) from None
    for address in found:
        if not can_bind(address, 0):
            shown = chosen if chosen == address else f"{chosen} ({address})"
            raise EnvironmentMissingError(f"--listen {shown} is not an address of this host", _BACK)
    return tuple(dict.fromkeys((LOCAL, *found)))


def list_hosts(chosen: str) -> tuple[str, ...]:
    """Return what other hosts write into their URLs; empty if it listens for this host alone."""
    if chosen == LOCAL:
        return ()
    if chosen not in _NOT_ROUTED:
        return (chosen,)
    return tuple(host for host in (_find_own_address(chosen), socket.gethostname()) if host)


def describe_reach(chosen: str) -> str:
    """Return who can connect to an address, as far as it tells."""
    if chosen in _NOT_ROUTED:
        return "every host that reaches any address of this one"
    try:
        address = ipaddress.ip_address(chosen)
    except ValueError:
        return f"every host that reaches {chosen}"
    if address.is_loopback:
        return "this host alone"
    return "every host of its network" if address.is_private else "every host that the firewall lets through"


def can_bind(address: str, port: int) -> bool:
    """Return whether a server could listen there now; port 0 asks for the address alone."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            target = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)[0][4]
            probe.bind(target)
    except OSError:
        return False
    return True


def _find_own_address(every: str) -> str | None:
    """Return the address that this host would use to reach others; nothing is sent."""
    family = socket.AF_INET6 if every == _EVERY_IPV6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_NOT_ROUTED[every], 9))
            return str(probe.getsockname()[0])
    except OSError:  # no network
        return None
