"""optuna-dashboard on our store: as an application, and as the command serves it."""

import io
import json
import signal
import socket
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import URLError

import optuna_dashboard
import pytest

from anomalyvfm_opt.report.dashboard import format_address, is_loopback
from tests.integration.program import FinishedStudy, Program, assert_one_error, finish, wait_for

EVERYWHERE = "0.0.0.0"  # noqa: S104 - that this is told apart is what is tested


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_application_answers_with_our_studies(program: Program, finished_study: FinishedStudy) -> None:
    answer: dict[str, Any] = {}

    def start_response(status: str, _headers: object, *_: object) -> None:
        answer["status"] = status

    request = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/api/studies",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    body = b"".join(optuna_dashboard.wsgi(program.store.storage)(request, start_response))
    assert answer["status"].startswith("200")
    summaries = json.loads(body)["study_summaries"]
    assert finished_study.name in [summary["study_name"] for summary in summaries]


def read_page(host: str, port: int) -> str | None:
    """The list of studies; None if nobody listens there."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/api/studies", timeout=10) as answer:
            page: str = answer.read().decode()
    except URLError:
        return None
    return page


@pytest.mark.parametrize(("options", "is_open"), [((), False), (("--host", EVERYWHERE), True)])
def test_the_command_serves_it_until_interrupted(
    program: Program, finished_study: FinishedStudy, port: int, options: tuple[str, ...], is_open: bool
) -> None:
    process = program.start("dashboard", "--port", str(port), *options)
    pages: list[str] = []

    def is_served() -> bool:
        assert process.poll() is None, process.communicate()
        pages.extend(page for page in [read_page("127.0.0.1", port)] if page is not None)
        return bool(pages)

    wait_for(is_served)
    assert finished_study.name in pages[-1]
    assert (read_page("127.0.0.2", port) is not None) == is_open  # another address of this host
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.returncode in (0, 130)
    assert "Traceback" not in done.stderr
    assert ("asks for no password" in done.stderr) == is_open


def test_a_taken_port_is_an_error_of_the_environment(program: Program, taken_port: int) -> None:
    done = program.run("dashboard", "--port", str(taken_port))
    assert str(taken_port) in assert_one_error(done, 3)


def test_an_address_of_another_host_is_an_error_of_the_environment(program: Program, port: int) -> None:
    done = program.run("dashboard", "--host", "192.0.2.1", "--port", str(port))
    assert f"cannot listen on 192.0.2.1:{port}" in assert_one_error(done, 3)


@pytest.mark.parametrize(
    ("host", "is_private", "shown"),
    [
        ("127.0.0.1", True, "127.0.0.1:80"),
        ("127.8.8.8", True, "127.8.8.8:80"),
        ("::1", True, "[::1]:80"),
        ("localhost", True, "localhost:80"),
        (EVERYWHERE, False, "0.0.0.0:80"),
        ("::", False, "[::]:80"),
        ("192.0.2.1", False, "192.0.2.1:80"),
        ("some.example", False, "some.example:80"),
    ],
)
def test_addresses_that_others_may_reach_are_told_apart(host: str, is_private: bool, shown: str) -> None:
    assert is_loopback(host) == is_private
    assert format_address(host, 80) == shown
