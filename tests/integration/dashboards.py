"""Requests to the dashboard's application, without a server."""

import io
import json
from typing import Any

from anomalyvfm_opt.report.guard import Application


def ask_dashboard(
    application: Application, path: str, query: str = "", method: str = "GET", sent: Any = None
) -> tuple[int, bytes]:
    """The status and the body of an answer; what is sent goes as JSON."""
    content, got = json.dumps({} if sent is None else sent).encode(), []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "HTTP_HOST": "localhost",
        "SERVER_PORT": "80",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(content),
        "wsgi.errors": io.StringIO(),
    }
    answer = b"".join(application(environ, lambda status, *_: got.append(int(status.split()[0]))))
    return got[0], answer
