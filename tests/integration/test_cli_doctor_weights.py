"""`doctor` on weights that a hub has: asked for, and not fetched."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from tests.integration.doctor_answer import Answer, ask
from tests.integration.program import Program, write_spec

MODEL = "vit_tiny_patch16_224.augreg_in21k"
NOWHERE = "http://127.0.0.1:1"


class Hub(BaseHTTPRequestHandler):
    """A hub that has every file, and notes what it was asked."""

    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.asked.append(f"HEAD {self.path}")
        refusals = {"gated": 403, "lost": 404, "store": 403}  # a store of signed addresses answers GET alone
        self.send_response(refusals.get(self.path.split("/")[1], 302))
        self.send_header("X-Linked-Size", str(2**20 * 300))
        self.send_header("Location", "/store")
        self.end_headers()

    def do_GET(self) -> None:
        self.asked.append(f"GET {self.path}")
        self.send_error(500)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def hub_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Hub.asked.clear()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hub_weights(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Path], Answer]:
    """Ask for hub weights: of which hub, and with which cache. Its library reads both when it is imported."""
    backbone = {"name": MODEL, "weights": "pretrained"}
    spec = write_spec(tmp_path, "hub", backbone=backbone)
    home = str(program.cluster.home)

    def run(url: str, cache: Path) -> Answer:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        return ask("--device", "cpu", "--spec", str(spec), ANOMALYVFM_OPT_HOME=home, NO_PROXY="127.0.0.1")

    return run


def test_a_hub_that_answers_is_asked_and_nothing_is_fetched(
    hub_weights: Callable[[str, Path], Answer], hub_url: str, tmp_path: Path
) -> None:
    answer = hub_weights(hub_url, tmp_path / "empty")
    assert answer.failed() == []
    assert f"timm/{MODEL} will be fetched at its first use, 300 MiB" in answer.checks["weights"]["detail"]
    assert Hub.asked == [f"HEAD /timm/{MODEL}/resolve/main/model.safetensors", "HEAD /store"]
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [("/gated", ("refuses it to you", "hf auth login")), ("/lost", ("the hub answers 404", "safetensors file"))],
)
def test_a_hub_that_refuses(
    hub_weights: Callable[[str, Path], Answer], hub_url: str, tmp_path: Path, path: str, words: tuple[str, ...]
) -> None:
    hub_weights(hub_url + path, tmp_path / "empty").assert_fails("weights", *words)


def test_a_hub_that_cannot_be_reached_does_not_matter_to_the_cache(
    hub_weights: Callable[[str, Path], Answer], tmp_path: Path
) -> None:
    answer = hub_weights(NOWHERE, tmp_path / "empty")
    answer.assert_fails("weights", "the hub cannot be asked", "backbone.weights")
    model = tmp_path / f"cache/models--timm--{MODEL}"
    (model / "refs").mkdir(parents=True)
    (model / "refs/main").write_text("c" * 40)
    (model / "snapshots" / ("c" * 40)).mkdir(parents=True)
    (model / "snapshots" / ("c" * 40) / "model.safetensors").touch()
    cached = hub_weights(NOWHERE, tmp_path / "cache")
    assert cached.failed() == []
    assert "in the cache of this host" in cached.checks["weights"]["detail"]


@pytest.mark.parametrize("has_spec", [True, False])
def test_a_weights_file_counts_instead_of_what_the_spec_says(
    program: Program, tmp_path: Path, has_spec: bool
) -> None:
    file = tmp_path / "mine.safetensors"
    save_file({"x": torch.zeros(2**19)}, file)
    spec = write_spec(tmp_path, "hub", backbone={"name": MODEL, "weights": "pretrained"})
    arguments = ["--spec", str(spec)] if has_spec else []
    home = str(program.cluster.home)
    answer = ask("--device", "cpu", *arguments, "--weights", str(file), ANOMALYVFM_OPT_HOME=home)
    assert answer.failed() == []
    assert answer.checks["weights"]["detail"] == (f"{MODEL}: " if has_spec else "") + f"{file}, 2 MiB"
