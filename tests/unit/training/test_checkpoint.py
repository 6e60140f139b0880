"""A trained detector, written and read again."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.training.checkpoint import load_detector, open_detector, pack_detector, read_identity
from tests.unit.training.detectors import KINDS, VIT, draw_images, plan, score, train

SETTINGS = AdapterSettings(
    kind="adalora", rank=2, alpha=4.0, targets="attention_mlp", adapted_blocks="all", dropout=0.1
)
SCHEDULE = plan(epochs=1, steps_per_epoch=6)
IMAGES = draw_images(64)


@pytest.fixture
def detector(vit: Backbone) -> Iterator[Detector]:
    with build_detector(vit, SETTINGS, seed=1, steps=SCHEDULE.steps) as fresh:
        yield fresh


@pytest.fixture
def saved(detector: Detector, tmp_path: Path) -> Path:
    path = tmp_path / "detector.safetensors"
    path.write_bytes(pack_detector(detector))
    return path


def measure_change(scores: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> float:
    """The largest difference of two sets of scores, relative to the largest score of its scorer."""
    assert scores.keys() == others.keys()
    return max(np.abs(scores[name] - others[name]).max() / np.abs(scores[name]).max() for name in scores)


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_merging_do_not_change_the_scores(backbone: Backbone, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    settings = replace(SETTINGS, kind=kind)
    with build_detector(backbone, settings, seed=1, steps=SCHEDULE.steps) as trained:
        untrained = score(trained, IMAGES)
        train(trained, IMAGES, SCHEDULE)
        scores, ranks = score(trained, IMAGES), trained.allocation.final_ranks()
        assert measure_change(scores, untrained) > 1e-2
        path.write_bytes(pack_detector(trained))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with open_detector(path, backbone) as read:
        assert measure_change(scores, score(read, IMAGES)) == 0
        assert read.allocation.final_ranks() == ranks
        assert read.adapter is not None
        assert read.adapter.settings == settings
        with read.adapter.merged():
            merged = score(read, IMAGES)
            # the ensemble divides by the spread of a few scores, and rounding errors with it
            assert measure_change({"": scores.pop("ensemble")}, {"": merged.pop("ensemble")}) < 1e-3
            assert measure_change(scores, merged) < 1e-4


def test_a_checkpoint_says_what_it_belongs_to(saved: Path, vit: Backbone) -> None:
    identity = read_identity(saved)
    assert identity.adapter == SETTINGS
    assert (identity.backbone, identity.weights_sha256) == (vit.name, vit.weights_sha256)
    assert (identity.decoder_blocks, identity.patch_blocks, identity.image_size_px) == ((0, 1), (0, 1), 64)
    assert identity.steps == SCHEDULE.steps


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "test_vit2.r160_in1k"}, r"backbone test_vit\.r160_in1k, not test_vit2.*weights_sha256"),
        ({"decoder_blocks": (1,)}, r"decoder_blocks \(0, 1\), not \(1,\)"),
        ({"image_size_px": 32}, "image_size_px 64, not 32"),
    ],
    ids=["backbone", "blocks", "size"],
)
def test_another_backbone_is_refused(saved: Path, change: dict[str, Any], words: str) -> None:
    names = ("name", "weights", "decoder_blocks", "patch_blocks", "image_size_px")
    other = Backbone(**{**dict(zip(names, VIT, strict=True)), **change})
    with (
        pytest.raises(UsageError, match=f"{saved} is of another detector: .*{words}"),
        open_detector(saved, other),
    ):
        pass
    assert not any("lora" in name for name in other.network.state_dict())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rank": 4}, "adapter's rank 2, not 4"),
        ({"kind": "lora", "alpha": 8.0}, "adapter's kind adalora, not lora; adapter's alpha 4.0, not 8.0"),
        ({"dropout": 0.0}, "adapter's dropout 0.1, not 0.0"),
    ],
)
def test_other_settings_are_refused(saved: Path, change: dict[str, Any], words: str) -> None:
    fresh = Backbone(*VIT)
    settings = replace(SETTINGS, **change)
    with (
        build_detector(fresh, settings, seed=1, steps=SCHEDULE.steps) as other,
        pytest.raises(UsageError, match=words),
    ):
        load_detector(saved, other)


def test_other_tensors_are_refused_before_any_is_taken(saved: Path, detector: Detector) -> None:
    tensors, header = load_file(saved), {"detector": json.dumps({})}
    header["detector"] = read_header(saved)
    del tensors["predictor.linear.bias"]
    save_file(tensors, saved, header)
    with pytest.raises(UsageError, match=r"predictor\.linear\.bias is absent in it, \(1,\) in the detector"):
        load_detector(saved, detector)


def read_header(path: Path) -> str:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header: str = json.loads(content[8 : 8 + length])["__metadata__"]["detector"]
    return header


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "damaged"), (b"nothing of the sort", "damaged"), (-40, "damaged"), ({}, "no checkpoint of a detector")],
    ids=["empty", "text", "cut short", "weights"],
)
def test_what_is_no_checkpoint_is_refused(saved: Path, vit: Backbone, content: Any, words: str) -> None:
    if isinstance(content, bytes):
        saved.write_bytes(content)
    elif isinstance(content, int):
        saved.write_bytes(saved.read_bytes()[:content])
    else:
        save_file(load_file(saved), saved)
    with pytest.raises(UsageError, match=words), open_detector(saved, vit):
        pass


def test_a_newer_format_is_refused(saved: Path) -> None:
    header = json.loads(read_header(saved))
    save_file(load_file(saved), saved, {"detector": json.dumps({**header, "schema": 2})})
    with pytest.raises(UsageError, match="format 2, this program reads 1"):
        read_identity(saved)


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("no JSON", "no checkpoint of a detector"),
        (DEEP, "no checkpoint of a detector"),
        ("[1]", "no checkpoint of a detector"),
        ('{"kind": "anomalyvfm-opt detector"}', "format None"),
        ('{"kind": "anomalyvfm-opt detector", "schema": 1}', "does not say what it belongs to"),
        ({"adapter": "lora"}, "does not say what it belongs to"),
        ({"adapter": {"kind": "lora", "size": 3}}, "does not say what it belongs to"),
        ({"decoder_blocks": 3}, "does not say what it belongs to"),
    ],
)
def test_a_damaged_header_is_refused(saved: Path, header: Any, words: str) -> None:
    text = header if isinstance(header, str) else json.dumps({**json.loads(read_header(saved)), **header})
    save_file(load_file(saved), saved, {"detector": text})
    with pytest.raises(UsageError, match=words):
        read_identity(saved)


def test_numbers_that_are_not_finite_are_refused(saved: Path, detector: Detector) -> None:
    tensors, header = load_file(saved), {"detector": read_header(saved)}
    tensors["predictor.linear.bias"].fill_(torch.nan)
    save_file(tensors, saved, header)
    with pytest.raises(UsageError, match="not finite"):
        load_detector(saved, detector)


def test_ranks_of_no_layer_of_the_detector_are_refused(saved: Path, detector: Detector) -> None:
    tensors, header = load_file(saved), {"detector": read_header(saved)}
    save_file({**tensors, "mask.nothing": torch.ones(3)}, saved, header)
    with pytest.raises(UsageError, match="its ranks left are not those"):
        load_detector(saved, detector)


def test_a_pipe_in_its_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EnvironmentMissingError, match="a named pipe, not a plain file"):
        read_identity(tmp_path / "pipe")


def test_a_missing_place_is_an_error_of_the_environment(tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "detector.safetensors"
    with pytest.raises(EnvironmentMissingError, match=r"cannot read the checkpoint .*No such file"):
        read_identity(nowhere)


def test_a_frozen_detector_has_nothing_to_keep(vit: Backbone) -> None:
    with pytest.raises(ValueError, match="frozen"):
        pack_detector(Detector(vit))
