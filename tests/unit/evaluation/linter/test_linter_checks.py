import numpy as np
import pytest
import torch
from torch import nn

from anomalyvfm_opt.evaluation.linter.adapter import View, check_adapter
from anomalyvfm_opt.evaluation.linter.findings import Finding, Severity, is_unsound, name_checks
from anomalyvfm_opt.evaluation.linter.passes import Watch, check_input
from anomalyvfm_opt.evaluation.linter.training import check_covariance, check_loss
from anomalyvfm_opt.evaluation.scorer_bank import Scores
from anomalyvfm_opt.evaluation.scorers import Gaussian
from anomalyvfm_opt.model.adapter import adapted
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.training.finetune import Losses

PRETRAINED = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize(
    ("steps", "is_flat"),
    [
        (np.linspace(1.0, 0.5, 20), False),
        (np.linspace(1.0, 0.995, 20), True),
        (np.linspace(0.5, 1.0, 20), True),
        (np.r_[1.1, np.full(19, 0.9)], True),  # one bad first batch is no fall
        (np.full(4, 1.0), False),  # too few steps to tell
    ],
)
def test_a_loss_that_did_not_fall_is_found(steps: np.ndarray, is_flat: bool) -> None:
    assert bool(check_loss(Losses((), tuple(steps)))) == is_flat


@pytest.mark.parametrize(
    ("images", "shrinkage", "is_singular"), [(20, 0.0, True), (20, 0.01, False), (80, 0.0, False)]
)
def test_few_images_are_too_few_only_without_shrinkage(images: int, shrinkage: float, is_singular: bool) -> None:
    gaussian = Gaussian(center=torch.zeros(40), precision=torch.eye(40), images=images, shrinkage=shrinkage)
    assert bool(check_covariance(gaussian)) == is_singular


def make_tiles() -> tuple[np.ndarray, torch.Tensor]:
    """Tiles, and what a network should get of them."""
    tiles = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    mean, std = (torch.tensor(PRETRAINED[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return tiles, (torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - mean) / std


def test_only_the_backbones_own_normalisation_passes() -> None:
    tiles, right = make_tiles()
    assert check_input(Watch(first_input=right[:2]), tiles, PRETRAINED) == []
    assert check_input(Watch(first_input=right.bfloat16().float()), tiles, PRETRAINED) == []
    pixels = torch.from_numpy(tiles).permute(0, 3, 1, 2).float()
    for wrong in (pixels, pixels / 255, right.flip(1), right.flip(0), pixels / 127.5 - 1):
        assert check_input(Watch(first_input=wrong), tiles, PRETRAINED) != []


def test_of_a_resized_input_the_range_is_looked_at() -> None:
    tiles, right = make_tiles()
    resized = nn.functional.interpolate(right, 12, mode="bilinear")
    assert check_input(Watch(first_input=resized), tiles, PRETRAINED) == []
    assert check_input(Watch(first_input=resized * 255), tiles, PRETRAINED) != []


def make_view(seed: int, order: np.ndarray | None = None, shift: float = 0.0) -> View:
    scores = np.random.default_rng(seed).normal(size=8)
    scores = scores if order is None else scores[order]
    pooled = torch.ones(8, 4) + shift
    return View(pooled, Scores({"patch_knn": scores, "mahalanobis": np.arange(8.0)}, {}))


def test_an_adapter_is_idle_if_its_update_is_nothing_or_no_pair_changes_places() -> None:
    swapped = np.r_[1, 0, 2:8]
    frozen, moved = make_view(0), make_view(0, swapped, shift=0.1)
    assert check_adapter({"a": 0.0, "b": 0.01}, moved, frozen) == []
    for updates, view, part in (
        ({"a": 0.0, "b": 1e-8}, moved, "largest update"),
        ({}, make_view(0), "pooled features"),
        ({"a": 0.01}, make_view(0, shift=0.1), "0 of the 28 pairs of 8 images"),
    ):
        (finding,) = check_adapter(updates, view, frozen)
        assert part in finding.message
        assert finding.severity is Severity.DOUBTFUL


def test_updates_are_measured_where_they_are_the_whole_change() -> None:
    backbone = Backbone("test_vit", "random", (-1,), None, 64)
    with adapted(
        backbone, AdapterSettings(kind="lora", rank=4, alpha=8.0, targets="attention", adapted_blocks=2), seed=0
    ) as adapter:
        assert adapter.measure_updates() == {f"blocks.{i}.attn.{n}": 0.0 for i in (4, 5) for n in ("qkv", "proj")}
        layer = backbone.network.blocks[4].attn.proj
        layer.lora_B["default"].weight.data.fill_(0.1)
        update = layer.get_delta_weight("default").norm() / layer.base_layer.weight.norm()
        assert adapter.measure_updates()["blocks.4.attn.proj"] == pytest.approx(update.item())
    with adapted(
        backbone, AdapterSettings(kind="dora", rank=4, alpha=8.0, targets="attention", adapted_blocks=2), seed=0
    ) as adapter:
        assert adapter.measure_updates() == {}


def test_findings_are_named_once_and_come_back_from_the_store() -> None:
    doubtful = Finding("flat_loss", Severity.DOUBTFUL, "m")
    broken = Finding("train_mode", Severity.BROKEN, "m")
    assert name_checks([doubtful, broken, broken]) == "flat_loss, train_mode"
    assert [is_unsound(found) for found in ([], [doubtful], [doubtful, broken])] == [False, False, True]
    assert Finding.from_stored(vars(broken)) == broken
