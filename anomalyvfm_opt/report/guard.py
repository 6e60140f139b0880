"""Stands before optuna-dashboard, which asks nobody who they are and lets everybody delete studies.

- With a token: whoever does not have it gets nothing. It is sent as `Authorization: Bearer TOKEN`, or once as
  `?token=TOKEN`, which is answered by a cookie that is derived from the token and is not it. The address with the
  token stays in the browser's history.
- Without a token: only requests to a name of this host itself are answered, so that no page of another site can
  read the dashboard through a name that it points at 127.0.0.1.
- No page of another site may ask for anything, whatever it would do with the answer; links may be followed.
- Read-only: only GET and HEAD pass.
- No other site may read what is served: optuna-dashboard allows it for artifacts.
"""

import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

_READING = ("GET", "HEAD")
_HOME = "/dashboard"
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?", re.IGNORECASE)
_OTHER_SITE = "This dashboard answers to its own pages alone, and this was asked by a page of another site."
_ASK = (
    "This dashboard asks for its token. Open it once as http://HOST:PORT/?token=TOKEN,"
    " or send `Authorization: Bearer TOKEN`. The token is in the file that `anomalyvfm-opt dashboard` named."
)
_READ_ONLY = "This dashboard is read-only. Started with `anomalyvfm-opt dashboard --allow-write`, it is not."
_OTHER_NAME = (
    "This dashboard answers to localhost alone. With `anomalyvfm-opt dashboard --token-file FILE` it asks for a"
    " token instead, and answers to every name."
)
# The next page is asked for by this one, and so with the cookie; a redirect from another site would lack it.
_WELCOME = f'<!doctype html><meta http-equiv="refresh" content="0;url={_HOME}"><a href="{_HOME}">dashboard</a>'
_HEADERS = (
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
)


class Guard:
    """A WSGI application that lets through what may pass.

    Args:
        application: behind it.
        token: that is asked for; None for none.
        may_write: whether other methods than GET and HEAD pass.
    """

    def __init__(self, application: Application, token: str | None = None, *, may_write: bool = False) -> None:
        self._application = application
        self._token = token.encode() if token is not None else None
        self._cookie = hmac.digest(self._token or b"", b"dashboard cookie", hashlib.sha256).hex()
        self._may_write = may_write

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, or hand it on."""
        if _is_of_another_site(environ):
            return _refuse(environ, start_response, HTTPStatus.FORBIDDEN, _OTHER_SITE)
        if self._token is None:
            if not is_loopback(_read_host(environ)):
                return _refuse(environ, start_response, HTTPStatus.FORBIDDEN, _OTHER_NAME)
        elif not self._is_known(environ):
            if environ["REQUEST_METHOD"] == "GET" and self._is_token(_read_query(environ)):
                return self._welcome(environ, start_response)
            return _refuse(environ, start_response, HTTPStatus.UNAUTHORIZED, _ASK)
        if not self._may_write and environ["REQUEST_METHOD"] not in _READING:
            return _refuse(environ, start_response, HTTPStatus.FORBIDDEN, _READ_ONLY)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            kept = [(name, value) for name, value in headers if not name.lower().startswith("access-control-")]
            return start_response(status, [*kept, *_HEADERS], *more)

        return self._application(environ, start)

    def _is_known(self, environ: dict[str, Any]) -> bool:
        kind, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(given.strip()):
            return True
        try:
            cookies = SimpleCookie(environ.get("HTTP_COOKIE", ""))
        except CookieError:
            return False
        cookie = cookies.get(_name_cookie(environ))
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._cookie.encode())

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="surrogateescape"), self._token or b"")

    def _welcome(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        cookie = f"{_name_cookie(environ)}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"
        more = [("Set-Cookie", cookie), ("Cache-Control", "no-store")]
        return _answer(start_response, HTTPStatus.OK, "text/html", _WELCOME, more)


def is_loopback(host: str) -> bool:
    """Return whether only this host can reach that address of its own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _name_cookie(environ: dict[str, Any]) -> str:
    """Browsers share cookies between the ports of a host; two dashboards must not overwrite each other's."""
    return f"anomalyvfm_opt_{environ.get('SERVER_PORT', '')}"


def _read_host(environ: dict[str, Any]) -> str:
    """Return the host that the request is addressed to, without port and brackets; empty if it names none."""
    found = _HOST.fullmatch(environ.get("HTTP_HOST", ""))
    return (found["six"] or found["name"]) if found else ""


def _is_of_another_site(environ: dict[str, Any]) -> bool:
    """Return whether a browser asks on behalf of a page that is not ours.

    Browsers say so in Sec-Fetch-Site; where they do not (old ones, and http to another host than this), Origin
    comes with whatever changes something. Another port of this host is the same site, but not the same origin.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is None:
        origin = environ.get("HTTP_ORIGIN")
        return origin is not None and origin.partition("://")[2].lower() != environ.get("HTTP_HOST", "").lower()
    if site in ("same-origin", "none"):
        return False
    follows_link = environ.get("HTTP_SEC_FETCH_MODE") == "navigate" and environ["REQUEST_METHOD"] == "GET"
    return not (follows_link and environ.get("HTTP_SEC_FETCH_DEST") == "document")


def _read_query(environ: dict[str, Any]) -> str:
    query: str = environ.get("QUERY_STRING", "")
    return parse_qs(query).get("token", [""])[0]


def _refuse(
    environ: dict[str, Any], start_response: StartResponse, status: HTTPStatus, text: str
) -> Iterable[bytes]:
    """Refuse in words; the pages of the dashboard show a reason that comes as JSON."""
    more = [("WWW-Authenticate", "Bearer")] if status is HTTPStatus.UNAUTHORIZED else []
    if environ.get("PATH_INFO", "").startswith("/api/"):
        return _answer(start_response, status, "application/json", json.dumps({"reason": text}), more)
    return _answer(start_response, status, "text/plain", text + "\n", more)


def _answer(
    start_response: StartResponse, status: HTTPStatus, kind: str, text: str, more: list[tuple[str, str]]
) -> Iterable[bytes]:
    body = text.encode()
    headers = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body))), *more, *_HEADERS]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
