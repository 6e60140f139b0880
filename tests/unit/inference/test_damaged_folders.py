"""A folder that is not what was written is refused by name, before anything is computed."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anomalyvfm_opt import load_detector
from anomalyvfm_opt.errors import EXIT_ENVIRONMENT, EXIT_USAGE, AnomalyVFMOptError
from anomalyvfm_opt.inference.selftest import check_detector
from tests.unit.inference.folders import Exported, export

Spoil = Callable[[Path], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tmp_path_factory.mktemp("made") / "detector", "vit", "lora")


def edit(folder: Path, change: Callable[[dict[str, Any]], object], is_sealed: bool = True) -> None:
    """Change the card as somebody does who knows about its hash, or who does not."""
    path = folder / "detector.json"
    content = json.loads(path.read_text())
    seal = content.pop("sha256")
    change(content)
    fresh = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**content, "sha256": fresh if is_sealed else seal}))


def replace(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and its hash in the card."""
    (folder / name).write_bytes(content)
    known = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    edit(folder, lambda card: card["files"].update({name: known}))


def change_tensor(folder: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change a tensor of a file, with the hash."""
    tensors = load_file(folder / name)
    change(tensors)
    save_file(tensors, folder / "changed")
    replace(folder, name, (folder / "changed").read_bytes())


def flip(folder: Path, name: str) -> None:
    """Change one bit of a file."""
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)


def cut(folder: Path, name: str) -> None:
    """Cut a file short."""
    (folder / name).write_bytes((folder / name).read_bytes()[:-10])


def swap(folder: Path, name: str, make: Callable[[Path], object]) -> None:
    """Put something else in the place of a file."""
    (folder / name).unlink()
    make(folder / name)


def empty_selftest(folder: Path) -> None:
    """Give the self-test no images, with the hash."""
    buffer = io.BytesIO()
    np.savez(buffer, pixels=np.zeros((0, 64, 64, 3), np.uint8), content_px=np.zeros((0, 2), int), map=np.zeros(0))
    replace(folder, "selftest.npz", buffer.getvalue())


def freeze(card: dict[str, Any]) -> None:
    """Say in the card that nothing was trained, and that the decoder scores."""
    card["adapter"] = None
    card["files"] = {
        name: file for name, file in card["files"].items() if "adapter" not in name and "head" not in name
    }
    card["scoring"]["scorer"] = "decoder"


FILES = (
    *("heads.safetensors", "memory.safetensors", "selftest.npz", "README.md"),
    *("adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
)
CASES: dict[str, tuple[Spoil, str]] = {
    **{f"{name} missing": (lambda folder, n=name: (folder / n).unlink(), name) for name in FILES},  # type: ignore[misc]
    **{f"{name} changed": (lambda folder, n=name: flip(folder, n), name) for name in FILES},  # type: ignore[misc]
    **{f"{name} cut": (lambda folder, n=name: cut(folder, n), name) for name in FILES},  # type: ignore[misc]
    "no folder": (shutil.rmtree, "is no folder"),
    "no card": (lambda folder: (folder / "detector.json").unlink(), "detector.json is missing"),
    "an empty card": (lambda folder: (folder / "detector.json").write_bytes(b""), "is no JSON object"),
    "a card that is a list": (lambda folder: (folder / "detector.json").write_text("[1]"), "is no JSON object"),
    "a deep card": (lambda folder: (folder / "detector.json").write_text("[" * 100_000), "is no JSON object"),
    "a card of bytes": (lambda folder: (folder / "detector.json").write_bytes(b"\xff\xfe"), "is no JSON object"),
    "a huge card": (lambda folder: (folder / "detector.json").write_bytes(b" " * 5_000_000), "larger than"),
    "a card that is a folder": (lambda f: swap(f, "detector.json", Path.mkdir), "is a folder"),
    "a card that is a pipe": (lambda f: swap(f, "detector.json", os.mkfifo), "named pipe"),
    "memory that is a pipe": (lambda f: swap(f, "memory.safetensors", os.mkfifo), "named pipe"),
    "another kind": (lambda f: edit(f, lambda c: c.update(kind="x")), "is not of a detector's folder"),
    "another schema": (lambda f: edit(f, lambda c: c.update(schema=2)), "has schema 2"),
    "a threshold lowered by hand": (
        lambda f: edit(f, lambda c: c["thresholds"].update(score=0.0), is_sealed=False),
        "detector.json was changed",
    ),
    "a threshold that is no number": (lambda f: edit(f, lambda c: c["thresholds"].update(score="x")), "score"),
    "a file that is not listed": (lambda f: edit(f, lambda c: c["files"].pop("heads.safetensors")), "heads"),
    "a path that leads out": (
        lambda f: edit(f, lambda c: c["files"].update({"../x": c["files"]["README.md"]})),
        "'../x'",
    ),
    "other weights": (
        lambda f: edit(f, lambda c: c["backbone"].update(weights_sha256="0" * 64)),
        "are not those of the detector",
    ),
    "an unknown network": (lambda f: edit(f, lambda c: c["backbone"].update(name="nonsense")), "'nonsense'"),
    "tiles that do not fit": (lambda f: edit(f, lambda c: c["geometry"].update(tile_px=60)), "do not cover"),
    "a scale of 0": (
        lambda f: edit(f, lambda c: c["scoring"]["scales"]["patch_knn"].update(scale=0)),
        "greater than 0",
    ),
    "no scales for the ensemble": (
        lambda f: edit(f, lambda c: c["scoring"].update(scales={})),
        "scales lacks decoder",
    ),
    "maps by a scorer without": (
        lambda f: edit(f, lambda c: c["scoring"].update(map_scorer="ensemble")),
        "maps by ensemble",
    ),
    "heads of a frozen network": (lambda f: edit(f, freeze), "scores by decoder"),
    "an SD of 0": (lambda f: edit(f, lambda c: c["backbone"].update(std=[0, 0, 0])), "greater than 0"),
    "another rank": (lambda f: edit(f, lambda c: c["adapter"].update(rank=4)), "adapter_model.safetensors"),
    "another adapter": (lambda f: edit(f, lambda c: c["adapter"].update(kind="dora")), "adapter_model"),
    "heads of another width": (
        lambda f: change_tensor(
            f, "heads.safetensors", lambda t: t.update({"predictor.norm.bias": torch.ones(3)})
        ),
        "predictor.norm.bias is float32 (3,)",
    ),
    "heads that are not finite": (
        lambda f: change_tensor(f, "heads.safetensors", lambda t: t["predictor.norm.bias"].fill_(torch.nan)),
        "not finite",
    ),
    "memory without patches": (
        lambda f: change_tensor(f, "memory.safetensors", lambda t: t.pop("patch_knn.patches")),
        "patch_knn.patches is absent",
    ),
    "memory that is no safetensors": (lambda f: replace(f, "memory.safetensors", b"x" * 50), "safetensors"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_folder_is_refused(made: Exported, tmp_path: Path, case: str) -> None:
    folder = tmp_path / "detector"
    shutil.copytree(made.folder, folder)
    spoil, said = CASES[case]
    spoil(folder)
    with pytest.raises(AnomalyVFMOptError) as refused:
        load_detector(folder, device="cpu")
    assert refused.value.exit_code == EXIT_USAGE
    assert said in refused.value.message + refused.value.hint
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: replace(f, "selftest.npz", b"x" * 50), "selftest.npz is damaged"),
        (empty_selftest, "does not hold frames"),
    ],
)
def test_a_damaged_selftest_is_refused(made: Exported, tmp_path: Path, spoil: Spoil, said: str) -> None:
    folder = tmp_path / "detector"
    shutil.copytree(made.folder, folder)
    spoil(folder)
    with load_detector(folder, device="cpu") as detector, pytest.raises(AnomalyVFMOptError, match=said) as refused:
        check_detector(detector)
    assert refused.value.exit_code == EXIT_USAGE


def test_other_numbers_are_seen_by_the_selftest(made: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "detector"
    shutil.copytree(made.folder, folder)
    change_tensor(folder, "heads.safetensors", lambda t: t["predictor.linear.bias"].add_(1e-3))
    with load_detector(folder, device="cpu") as detector:
        found = check_detector(detector)
    assert not found.is_close
    assert found.scorer == "predictor"


def test_weights_from_a_file_are_asked_for(made: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "detector"
    shutil.copytree(made.folder, folder)
    edit(folder, lambda card: card["backbone"].update(weights="file"))
    with pytest.raises(AnomalyVFMOptError, match="came from a file") as refused:
        load_detector(folder, device="cpu")
    assert refused.value.exit_code == EXIT_ENVIRONMENT
    with pytest.raises(AnomalyVFMOptError, match="no such file"):
        load_detector(folder, device="cpu", weights=tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_of_nothing_is_refused(made: Exported, batch: int) -> None:
    with pytest.raises(AnomalyVFMOptError, match="too small"):
        load_detector(made.folder, device="cpu", batch=batch)


def test_a_device_that_is_none_is_refused(made: Exported) -> None:
    with pytest.raises(AnomalyVFMOptError, match="is no device"):
        load_detector(made.folder, device="abacus")
