"""The guard before the dashboard: what passes, what does not, and that the token is in no answer."""

import io
import json
from dataclasses import dataclass
from typing import Any

import pytest

from anomalyvfm_opt.report.guard import Guard

TOKEN = "a-token_of.22~characters"  # noqa: S105
CORS = [("Access-Control-Allow-Origin", "*"), ("access-control-allow-headers", "*")]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str


def behind(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/html"), *CORS])
    return [b"the dashboard"]


def ask(guard: Guard, path: str = "/api/studies", method: str = "GET", query: str = "", **headers: str) -> Answer:
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PORT": "8080",
        "HTTP_HOST": "localhost:8080",
        "wsgi.input": io.BytesIO(),
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }
    got: dict[str, Any] = {}

    def start_response(status: str, pairs: list[tuple[str, str]], *_more: Any) -> None:
        got["status"], got["headers"] = int(status.split()[0]), dict(pairs)

    body = b"".join(guard(environ, start_response)).decode()
    return Answer(got["status"], got["headers"], body)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", ""])
def test_only_reading_passes(method: str) -> None:
    for path in ("/api/studies/1", "/dashboard", "/"):
        refused = ask(Guard(behind), path, method)
        assert refused.status == 403
        assert "read-only" in refused.body
        assert ask(Guard(behind, may_write=True), path, method).body == "the dashboard"
    assert ask(Guard(behind), method="HEAD").status == ask(Guard(behind)).status == 200


def test_a_page_gets_its_reason_as_json_and_a_person_in_words() -> None:
    assert "read-only" in json.loads(ask(Guard(behind), "/api/studies", "POST").body)["reason"]
    assert ask(Guard(behind), "/dashboard", "POST").headers["Content-Type"] == "text/plain; charset=utf-8"


def test_no_other_site_may_read_what_is_served() -> None:
    answer = ask(Guard(behind), "/artifacts/1/2")
    assert [name for name in answer.headers if name.lower().startswith("access-control")] == []
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "127.1.2.3", "[::1]:8080"])
def test_without_a_token_this_hosts_own_names_are_answered(host: str) -> None:
    assert ask(Guard(behind), host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "10.0.0.5",
        "",
        "[",
        "[::1]evil.example",
        "[::1].evil.example",
        "[::1",
        "localhost:80evil",
        "localhost:80:80",
        "x@localhost",
        "localhost, evil.example",
        "localhost/",
        "127.0.0.1.evil.example",
    ],
)
def test_without_a_token_no_other_name_is(host: str) -> None:
    refused = ask(Guard(behind), host=host)
    assert (refused.status, "--token-file" in refused.body) == (403, True)
    assert ask(Guard(behind, TOKEN), host=host, authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_a_token_is_taken_as_a_header(scheme: str) -> None:
    assert ask(Guard(behind, TOKEN), authorization=f"{scheme} {TOKEN}").body == "the dashboard"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer \udcfc\udcff"},
        {"cookie": f"anomalyvfm_opt_8080={TOKEN}"},
        {"cookie": "anomalyvfm_opt_8080="},
        {"cookie": "anomalyvfm_opt_8080=ü; ="},
        {"cookie": "\x00;;;"},
    ],
)
def test_nobody_gets_in_without_it(headers: dict[str, str]) -> None:
    for path in ("/", "/dashboard", "/api/studies", "/static/bundle.js", "/artifacts/1/2"):
        for query in ("", "token=", "token=wrong", "token[]=x", f"Token={TOKEN}"):
            refused = ask(Guard(behind, TOKEN), path, "GET", query, **headers)
            assert refused.status == 401
            assert refused.headers["WWW-Authenticate"] == "Bearer"
            assert TOKEN not in refused.body + str(refused.headers)


def test_a_token_in_the_query_is_answered_by_a_cookie_that_is_not_the_token() -> None:
    guard = Guard(behind, TOKEN)
    welcome = ask(guard, "//evil.example", query=f"x=1&token={TOKEN}")
    assert welcome.status == 200
    assert 'url=/dashboard"' in welcome.body
    assert "evil" not in welcome.body
    assert welcome.headers["Cache-Control"] == "no-store"
    assert welcome.headers["Referrer-Policy"] == "no-referrer"
    cookie, *attributes = welcome.headers["Set-Cookie"].split("; ")
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert TOKEN not in welcome.body + str(welcome.headers)
    assert ask(guard, cookie=f"other=1; {cookie}").body == "the dashboard"
    assert ask(Guard(behind, TOKEN), cookie=cookie).status == 200  # also after a restart
    assert ask(Guard(behind, TOKEN + "x"), cookie=cookie).status == 401  # and not with another token
    assert ask(guard, "/api/studies", "DELETE", cookie=cookie).status == 403  # and read-only all the same


def test_a_token_in_the_query_of_a_change_does_not_count() -> None:
    assert ask(Guard(behind, TOKEN, may_write=True), method="POST", query=f"token={TOKEN}").status == 401


def test_without_a_token_a_request_that_names_no_host_is_refused() -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/dashboard", "wsgi.input": io.BytesIO()}
    said: list[str] = []
    Guard(behind)(environ, lambda status, *_: said.append(status))
    assert said == ["403 Forbidden"]


LINK = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9090"},
        {"origin": "http://[::1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},  # another port of this host
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
        {"sec_fetch_site": "cross-site", "origin": "http://localhost:8080"},
    ],
)
def test_a_page_of_another_site_is_refused(headers: dict[str, str]) -> None:
    guard = Guard(behind, may_write=True)
    for method in ("GET", "POST", "DELETE"):
        assert ask(guard, method=method, **headers).status == 403
    token = {"authorization": f"Bearer {TOKEN}"}
    assert ask(Guard(behind, TOKEN, may_write=True), method="POST", **headers, **token).status == 403


def test_a_link_may_be_followed_but_no_form_sent() -> None:
    guard = Guard(behind, may_write=True)
    assert ask(guard, sec_fetch_site="cross-site", **LINK).status == 200
    assert ask(guard, method="POST", sec_fetch_site="cross-site", **LINK).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:8080"},
        {"origin": "http://LOCALHOST:8080"},
        {"sec_fetch_site": "same-origin", "origin": "https://proxy.example"},  # which did not pass the Host on
        {"sec_fetch_site": "none"},
    ],
)
def test_our_own_pages_and_programs_are_answered(headers: dict[str, str]) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert ask(Guard(behind, may_write=True), method=method, **headers).status == 200
