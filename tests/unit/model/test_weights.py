"""Weights from a file: what is accepted, what is refused, and what a file is made to fit."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.weights import find_weights_file, resolve_weights

VIT = "test_vit.r160_in1k"  # 0.3 million parameters
SIGLIP = "vit_base_patch32_siglip_256.v2_webli"


def open_backbone(weights: str | Path, name: str = VIT, size_px: int = 32) -> Backbone:
    return Backbone(name, str(weights), (-1,), None, size_px)


def draw_tensors(name: str, size_px: int) -> dict[str, Tensor]:
    """A random network's tensors, none of them what another random network would have."""
    generator = torch.Generator().manual_seed(1)
    state = open_backbone("random", name, size_px).network.state_dict()
    return {
        key: torch.rand(t.shape, generator=generator) * 0.04 + 0.01 if t.is_floating_point() else t
        for key, t in state.items()
    }


def save(tensors: dict[str, Tensor], path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def own_tensors(backbone: Backbone) -> dict[str, Tensor]:
    return dict(backbone.network.state_dict())


@pytest.mark.parametrize(
    ("name", "n_prefix", "dtype"),
    [(VIT, 1, torch.float32), ("test_vit3.r160_in1k", 1, torch.float32), (SIGLIP, 0, torch.bfloat16)],
    ids=["class token", "register only", "siglip2"],
)
def test_a_file_of_another_image_size_and_with_a_classifier_is_fitted(
    name: str, n_prefix: int, dtype: torch.dtype, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {key: t.to(dtype) for key, t in draw_tensors(name, 64).items()}
    width = given["pos_embed"].shape[2]
    head = {"head.weight": torch.ones(10, width), "head.bias": torch.ones(10), "projector.0.weight": torch.ones(3)}
    file = save({**given, **head}, tmp_path / "own.safetensors")
    loaded = open_backbone(file, name, 96)
    own = own_tensors(loaded)
    assert own.keys() == given.keys()
    assert all(torch.equal(own[key], given[key].float()) for key in own if key != "pos_embed")
    prefix, cells = given["pos_embed"].float()[0].split([n_prefix, len(given["pos_embed"][0]) - n_prefix])
    side = round(len(cells) ** 0.5)
    grid = cells.mT.reshape(1, width, side, side)
    fitted = F.interpolate(grid, loaded.network.patch_embed.grid_size, mode="bicubic", antialias=True)
    torch.testing.assert_close(own["pos_embed"][0, :n_prefix], prefix, rtol=0, atol=0)
    torch.testing.assert_close(own["pos_embed"][0, n_prefix:], fitted[0].flatten(1).mT)
    assert loaded.map_channels == width
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [VIT, "tf_efficientnet_lite0.in1k"], ids=["vit", "cnn"])
def test_equal_values_hash_equally_whatever_their_type(name: str, tmp_path: Path) -> None:
    halves = {
        key: t.half().bfloat16() if t.is_floating_point() else t for key, t in draw_tensors(name, 64).items()
    }  # what both can say
    hashes = set()
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        tensors = {key: t.to(dtype) if t.is_floating_point() else t for key, t in halves.items()}
        loaded = open_backbone(save(tensors, tmp_path / f"{dtype}.safetensors"), name, 96)
        assert {t.dtype for t in own_tensors(loaded).values() if t.is_floating_point()} == {torch.float32}
        hashes.add(loaded.weights_sha256)
    assert len(hashes) == 1
    halves["blocks.0.0.bn1.bias" if "efficientnet" in name else "norm.bias"][3] += 1
    other = open_backbone(save(halves, tmp_path / "other.safetensors"), name, 96)
    assert other.weights_sha256 not in hashes


def test_the_same_file_under_another_name_hashes_equally(tmp_path: Path) -> None:
    file = save(draw_tensors(VIT, 32), tmp_path / "a.safetensors")
    link = tmp_path / "b"  # a file in the hub's cache is a link to one without a suffix
    shutil.copy(file, tmp_path / "blob")
    link.symlink_to("blob")
    assert open_backbone(file).weights_sha256 == open_backbone(link).weights_sha256


Change = Callable[[dict[str, Tensor]], Any]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda w: w.pop("blocks.0.attn.qkv.weight"),
            r"lacks 1 of the 78 tensors of .*'blocks.0.attn.qkv.weight'",
        ),
        (lambda w: w.pop("norm.bias"), "lacks 1 of .* first 'norm.bias'"),  # zero in a fresh network too
        (lambda w: w.pop("norm.weight"), "lacks 1 of .* first 'norm.weight'"),  # one
        (
            lambda w: w.update(cls_token=torch.zeros(1, 1, 80)),
            r"is of another model: cls_token is \(1, 1, 80\), in test_vit.* \(1, 1, 64\)",
        ),
        (
            lambda w: w.update({"patch_embed.proj.weight": torch.zeros(64, 3, 14, 14)}),
            r"patch_embed.proj.weight is \(64, 3, 14, 14\), in test_vit.* \(64, 3, 16, 16\)",
        ),
        (lambda w: w.update(pos_embed=torch.zeros(1, 1 + 7, 64)), "does not fit test_vit"),
        (
            lambda w: w["norm.bias"][0].fill_(torch.nan),
            "is damaged: 'norm.bias' holds numbers that are not finite",
        ),
    ],
    ids=["matrix", "bias", "norm", "width", "patch size", "grid", "not a number"],
)
def test_tensors_that_do_not_fit_are_named(change: Change, words: str, tmp_path: Path) -> None:
    tensors = draw_tensors(VIT, 32)
    change(tensors)
    file = save(tensors, tmp_path / "own.safetensors")
    with pytest.raises(UsageError, match=f"backbone.weights: {file} .*{words}") as caught:
        open_backbone(file, size_px=64)
    assert "\n" not in str(caught.value)


def test_names_of_another_library_are_shown(tmp_path: Path) -> None:
    tensors = {f"module.{name}": tensor for name, tensor in draw_tensors(VIT, 32).items()}
    with pytest.raises(UsageError, match=r"lacks 78 of the 78.*'cls_token'.*such as 'module\.blocks\.0"):
        open_backbone(save(tensors, tmp_path / "own.safetensors"))


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (None, EnvironmentMissingError, "no such file: .*own"),
        (b"", UsageError, "own is empty"),
        (b"not tensors", UsageError, "own is not a safetensors file"),
        (b"PK\x03\x04" + b"\0" * 500, UsageError, "not a safetensors file but a pickle"),
        (b"\x80\x02}q\x00" + b"\0" * 500, UsageError, "not a safetensors file but a pickle"),
        (-100, UsageError, "own is cut short or damaged"),
        (20, UsageError, "own is cut short or damaged"),
        ({}, UsageError, "own holds no tensors"),
    ],
    ids=["missing", "empty", "text", "pth", "old pth", "cut in the values", "cut in the header", "no tensors"],
)
def test_what_is_no_weights_file_is_refused(
    content: Any, kind: type[Exception], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "own"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save({"a": torch.zeros(1000)} if content else {}, path)
    if isinstance(content, int):
        path.write_bytes(path.read_bytes()[:content])
    with pytest.raises(kind, match=words) as caught:
        open_backbone(path)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own")
    with pytest.raises(EnvironmentMissingError, match="own: it is a named pipe, not a plain file"):
        open_backbone(tmp_path / "own")


def test_a_folder_is_refused_with_the_file_in_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder") as caught:
        open_backbone(tmp_path)
    assert str(tmp_path / "model.safetensors") in caught.value.hint


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Not as root, who may read everything."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_what_is_not_for_us_to_read_is_an_environment_error(closed: str, open_folder: Path) -> None:
    folder = open_folder / "theirs"
    folder.mkdir()
    file = save({"a": torch.zeros(3)}, folder / "own.safetensors")
    folder.chmod(0o755)
    (file if closed == "file" else folder).chmod(0)
    words = r"cannot read .*own\.safetensors: Permission denied"
    with as_somebody_else(), pytest.raises(EnvironmentMissingError, match=words):
        find_weights_file(file)
    folder.chmod(0o755)


def test_the_line_that_converts_a_checkpoint_works(tmp_path: Path) -> None:
    tensors = draw_tensors(VIT, 32)
    tied = {**tensors, "tied": tensors["norm.bias"], "turned": torch.ones(3, 2).mT, "step": 3}
    torch.save({"state_dict": tied}, tmp_path / "own.pth")
    with pytest.raises(UsageError, match="pickle") as caught:
        open_backbone(tmp_path / "own.pth")
    command = caught.value.hint.split("convert it: ")[1].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True)  # noqa: S602 - as a user pastes it
    loaded = open_backbone(tmp_path / "own.safetensors")
    assert torch.equal(own_tensors(loaded)["blocks.0.attn.qkv.weight"], tensors["blocks.0.attn.qkv.weight"])


def test_a_relative_file_belongs_to_the_folder_of_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert [resolve_weights(word, tmp_path) for word in ("pretrained", "offline", "random")] == [
        "pretrained",
        "offline",
        "random",
    ]
    for given, resolved in {
        "own.safetensors": "specs/own.safetensors",
        "./pretrained": "specs/pretrained",
        "../own.safetensors": "specs/../own.safetensors",
        "~/own.safetensors": "home/own.safetensors",
        f"{tmp_path}/own.safetensors": "own.safetensors",
    }.items():
        assert resolve_weights(given, Path("specs")) == str(tmp_path / resolved)
    with pytest.raises(UsageError, match=r"backbone\.weights: ~nobody-here/w"):
        resolve_weights("~nobody-here/w", tmp_path)
