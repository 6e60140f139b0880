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

from tests.integration.program import FinishedStudy, Program, assert_one_error, finish, wait_for


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


def test_the_command_serves_it_until_interrupted(
    program: Program, finished_study: FinishedStudy, port: int
) -> None:
    process = program.start("dashboard", "--port", str(port))
    pages: list[str] = []

    def is_served() -> bool:
        assert process.poll() is None, process.communicate()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=10) as answer:
                pages.append(answer.read().decode())
        except URLError:
            return False
        return True

    wait_for(is_served)
    assert finished_study.name in pages[-1]
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.returncode in (0, 130)
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_an_error_of_the_environment(program: Program, taken_port: int) -> None:
    done = program.run("dashboard", "--port", str(taken_port))
    assert str(taken_port) in assert_one_error(done, 3)
