import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.embedded import listen
from anomalyvfm_opt.store.embedded.listen import describe_reach, find_addresses, list_hosts, read_address


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("10.0.0.5", "10.0.0.5"),
        ("[fe80::0:1]", "fe80::1"),
        ("gpu-1.example.org", "gpu-1.example.org"),
    ],
)
def test_an_address_has_one_spelling(given, expected):
    assert read_address(given) == expected


@pytest.mark.parametrize(
    "given", ["", "*", "10.0.0.5,10.0.0.6", "10.0.0.0/8", "a b", "x;reboot", "$(id)", "-x", "h:1"]
)
def test_what_is_no_address_is_refused(given):
    with pytest.raises(UsageError, match="neither an address nor"):
        read_address(given)


def test_127_0_0_1_is_always_among_them(monkeypatch):
    monkeypatch.setattr(listen, "can_bind", lambda *_: True)
    assert find_addresses("127.0.0.1") == ("127.0.0.1",)
    assert find_addresses("0.0.0.0") == ("0.0.0.0",)  # noqa: S104 - which contains it
    assert find_addresses("::") == ("127.0.0.1", "::")
    assert find_addresses("10.0.0.5") == ("127.0.0.1", "10.0.0.5")


def test_an_unknown_name_is_refused():
    with pytest.raises(EnvironmentMissingError, match="does not know that name"):
        find_addresses("no-such-host.invalid")


def test_the_name_of_this_host_alone_listens_once(monkeypatch):
    monkeypatch.setattr(listen.socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 0))] * 2)
    monkeypatch.setattr(listen, "can_bind", lambda *_: True)
    assert find_addresses("gpu-1") == ("127.0.0.1",)


def test_hosts_for_urls():
    assert list_hosts("127.0.0.1") == ()
    assert list_hosts("10.0.0.5") == ("10.0.0.5",)
    assert listen.socket.gethostname() in list_hosts("0.0.0.0")  # noqa: S104


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("0.0.0.0", "any address of this one"),  # noqa: S104
        ("::", "any address of this one"),
        ("127.0.0.2", "this host alone"),
        ("10.0.0.5", "its network"),
        ("8.8.8.8", "firewall"),
        ("gpu-1", "reaches gpu-1"),
    ],
)
def test_the_warning_says_who(chosen, words):
    assert words in describe_reach(chosen)
