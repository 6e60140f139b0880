"""optuna-dashboard on our store: as an application, and as the command serves it."""

import json
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError

import optuna
import pytest

from anomalyvfm_opt.report.dashboard import format_address, make_application
from anomalyvfm_opt.report.guard import is_loopback
from tests.integration.dashboards import ask_dashboard
from tests.integration.program import FinishedStudy, Process, Program, assert_one_error, finish, wait_for

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
    status, body = ask_dashboard(make_application(program.store.storage), "/api/studies")
    assert status == 200
    summaries = json.loads(body)["study_summaries"]
    assert finished_study.name in [summary["study_name"] for summary in summaries]


def read_page(host: str, port: int, path: str = "/api/studies", token: str | None = None) -> str | None:
    """What is answered; None if nobody listens there."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://{host}:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            page: str = answer.read().decode()
    except HTTPError as error:
        return f"{error.code} {error.read().decode()}"
    except URLError:
        return None
    return page


def wait_until_served(process: Process, port: int) -> str:
    pages: list[str] = []

    def is_served() -> bool:
        assert process.poll() is None, process.communicate()
        pages.extend(page for page in [read_page("127.0.0.1", port)] if page is not None)
        return bool(pages)

    wait_for(is_served)
    return pages[-1]


def interrupt(process: Process) -> str:
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.returncode in (0, 130)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def send(port: int, method: str, path: str) -> tuple[int, str]:
    """What a change is answered by."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=b"{}", method=method)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_the_command_serves_it_read_only_on_this_host_until_interrupted(
    program: Program, finished_study: FinishedStudy, port: int
) -> None:
    process = program.start("dashboard", "--port", str(port))
    assert finished_study.name in wait_until_served(process, port)
    assert read_page("127.0.0.2", port) is None  # another address of this host
    record = program.record(finished_study.name)
    before = program.list_names()
    for method, path in (
        ("DELETE", f"/api/studies/{record.study_id}"),
        ("POST", f"/api/studies/{record.study_id}/rename"),
        ("PUT", f"/api/studies/{record.study_id}/note"),
        ("POST", "/api/studies"),
    ):
        status, text = send(port, method, path)
        assert (status, "read-only" in text, "--allow-write" in text) == (403, True, True)
    assert program.list_names() == before
    said = interrupt(process)
    assert "read-only" in said
    assert "token" not in said


def test_with_allow_write_it_changes_studies(program: Program, port: int) -> None:
    name = program.create_here("doomed")
    process = program.start("dashboard", "--port", str(port), "--allow-write")
    wait_until_served(process, port)
    assert send(port, "DELETE", f"/api/studies/{program.record(name).study_id}")[0] == 204
    assert name not in optuna.get_all_study_names(program.store.storage)
    assert "can change and delete studies" in interrupt(process)


def test_on_other_addresses_it_asks_for_a_token_that_it_keeps_and_does_not_tell(
    program: Program, finished_study: FinishedStudy, port: int
) -> None:
    file = program.cluster.home / "dashboard.token"
    tokens = []
    for _ in range(2):
        process = program.start("dashboard", "--port", str(port), "--listen", EVERYWHERE)
        assert wait_until_served(process, port).startswith("401 ")
        tokens.append(file.read_text().strip())
        assert file.stat().st_mode & 0o777 == 0o600
        assert finished_study.name in (read_page("127.0.0.2", port, token=tokens[-1]) or "")
        assert "dashboard" in (read_page("127.0.0.2", port, f"/?token={tokens[-1]}") or "")
        said = interrupt(process)
        assert str(file) in said
        assert tokens[-1] not in said
        assert "nothing is encrypted" in said
    assert tokens[0] == tokens[1]


def test_on_this_host_a_token_keeps_other_users_out(program: Program, port: int, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-my-own-0123\n")
    file.chmod(0o600)
    process = program.start("dashboard", "--port", str(port), "--token-file", str(file))
    assert wait_until_served(process, port).startswith("401 ")
    assert (read_page("127.0.0.1", port, token="a-token-of-my-own-0123") or "").startswith("{")  # noqa: S106
    interrupt(process)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("0123456789abcdef0123", 0o644, "others may read it (mode 0644)"),
        ("short", 0o600, "16 or more letters"),
        ("with spaces in its middle", 0o600, "16 or more letters"),
        ("", 0o600, "16 or more letters"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_token_file_that_will_not_do(
    program: Program, port: int, tmp_path: Path, content: str | None, mode: int, words: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    done = program.run_here("dashboard", "--port", str(port), "--token-file", str(file))
    shown = assert_one_error(done, 2)
    assert words in shown
    assert not content or content not in shown


def test_a_taken_port_is_an_error_of_the_environment(program: Program, taken_port: int) -> None:
    done = program.run_here("dashboard", "--port", str(taken_port))
    assert str(taken_port) in assert_one_error(done, 3)


def test_an_address_of_another_host_is_an_error_of_the_environment(program: Program, port: int) -> None:
    done = program.run_here("dashboard", "--listen", "192.0.2.1", "--port", str(port))
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
