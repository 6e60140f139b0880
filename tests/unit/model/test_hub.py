"""Pretrained weights from a hub of this test's own: there, cached, refused, silent, not there."""

import hashlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub.constants
import pytest
from safetensors.torch import save_file

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.model import weights
from anomalyvfm_opt.model.backbone import Backbone

NAME, HUB_ID = "test_vit", "timm/test_vit.r160_in1k"


@dataclass
class Hub:
    """What the hub answers, and what it was asked."""

    status: int = 200
    error_code: str = ""
    content: bytes = b""
    asked: list[str] = field(default_factory=list)

    def serve(self) -> ThreadingHTTPServer:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                self.send_response(hub.status)
                if hub.error_code:
                    self.send_header("X-Error-Code", hub.error_code)
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("ETag", f'"{hashlib.sha256(hub.content).hexdigest()}"')
                self.send_header("Content-Length", str(len(hub.content)))
                self.end_headers()

            def do_GET(self) -> None:
                self.do_HEAD()
                self.wfile.write(hub.content)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    server = hub.serve()
    point_at(server.server_address[1], monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield hub
    server.shutdown()
    server.server_close()


def point_at(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does to a process that starts."""
    endpoint = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def open_pretrained() -> Backbone:
    return Backbone(NAME, "pretrained", (-1,), None, 32)


def refusal(capfd: pytest.CaptureFixture[str]) -> EnvironmentMissingError:
    """The error in which opening ends, in one line and with nothing else on the terminal."""
    with pytest.raises(EnvironmentMissingError) as caught:
        open_pretrained()
    assert f"pretrained weights test_vit.r160_in1k (hub id {HUB_ID}) cannot be fetched: " in caught.value.message
    assert f"download model.safetensors of {HUB_ID}" in caught.value.hint
    assert "--weights FILE, or backbone.weights: FILE in the spec" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    return caught.value


def test_weights_are_fetched_once_and_then_found_without_the_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source = Backbone(NAME, "random", (-1,), None, 64)
    tensors = {name: (t + 0.25).contiguous() for name, t in source.network.state_dict().items()}
    save_file(tensors, tmp_path / "hub.safetensors")
    hub.content = (tmp_path / "hub.safetensors").read_bytes()
    fetched = open_pretrained()
    assert any(line == f"GET /{HUB_ID}/resolve/main/model.safetensors" for line in hub.asked), hub.asked
    assert (
        fetched.weights_sha256 == Backbone(NAME, str(tmp_path / "hub.safetensors"), (-1,), None, 32).weights_sha256
    )
    hub.asked.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert open_pretrained().weights_sha256 == fetched.weights_sha256
    assert hub.asked == []
    assert capfd.readouterr() == ("", "")


def test_a_hub_that_is_not_there_is_named_within_seconds(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        point_at(closed.getsockname()[1], monkeypatch)
        started = time.monotonic()
        error = refusal(capfd)
    assert time.monotonic() - started < 5
    assert "Connection refused" in error.message
    assert error.hint.startswith("where the hub can be reached")


@pytest.mark.parametrize(
    ("connect_s", "answer_s", "words"), [(0.2, 60.0, "timed out"), (60.0, 0.2, "did not answer within")]
)
def test_a_hub_that_is_silent_is_not_waited_for(
    hub: Hub,
    connect_s: float,
    answer_s: float,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(weights, "_HUB_CONNECT_S", connect_s)
    monkeypatch.setattr(weights, "_HUB_ANSWER_S", answer_s)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_at(silent.getsockname()[1], monkeypatch)
        started = time.monotonic()
        error = refusal(capfd)
    assert time.monotonic() - started < 5
    assert words in error.message


@pytest.mark.parametrize(
    ("status", "error_code"),
    [(401, "GatedRepo"), (403, "GatedRepo"), (401, "RepoNotFound"), (403, "")],
    ids=["gated", "gated for this token", "private", "forbidden"],
)
def test_a_gated_model_asks_for_access_and_a_token(
    hub: Hub, status: int, error_code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.status, hub.error_code = status, error_code
    error = refusal(capfd)
    assert error.message.endswith(f"the hub refuses access (HTTP {status})")
    assert error.hint.startswith(
        "ask for access on the model's page, then set HF_TOKEN or run `hf auth login`; or"
    )


@pytest.mark.parametrize(("status", "error_code"), [(404, "EntryNotFound"), (404, "RepoNotFound"), (503, "")])
def test_a_hub_without_the_file_is_named(
    hub: Hub, status: int, error_code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.status, hub.error_code = status, error_code
    error = refusal(capfd)
    assert str(status) in error.message
    assert "access" not in str(error)


def test_offline_mode_asks_nobody(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refusal(capfd).message
    assert hub.asked == []


def test_a_model_without_pretrained_weights_is_named() -> None:
    with pytest.raises(UsageError, match=r"timm knows no weights for 'test_vit4\.r160_in1k'") as caught:
        Backbone("test_vit4", "pretrained", (-1,), None, 32)
    assert "--weights FILE" in caught.value.hint
