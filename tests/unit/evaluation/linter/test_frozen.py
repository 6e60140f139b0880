"""The backbone's own parameters and statistics never move, and one that did is not used again."""

import pytest
import torch

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.evaluation.linter.findings import Severity
from anomalyvfm_opt.evaluation.linter.frozen import check_frozen, refuse_moved
from anomalyvfm_opt.model.adapter import adapted
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone


@pytest.fixture
def backbone() -> Backbone:
    return Backbone("test_vit", "random", (-1,), None, 64)


def test_a_backbone_that_only_looked_at_images_is_as_it_was(backbone: Backbone) -> None:
    backbone.features(backbone.normalise(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)))
    assert check_frozen(backbone) == []
    refuse_moved(backbone)


def test_the_last_bit_of_one_number_is_found_and_its_tensor_named(backbone: Backbone) -> None:
    bias = backbone.network.blocks[2].attn.proj.bias
    bias.data[5] = torch.nextafter(bias.data[5], torch.tensor(9.0))
    (finding,) = check_frozen(backbone)
    assert (finding.check, finding.severity) == ("frozen_moved", Severity.BROKEN)
    name = "blocks.2.attn.proj.bias"
    assert finding.message.startswith(f"1 tensor (first '{name}') of test_vit changed")


def test_a_trial_on_what_moved_is_refused_until_it_is_as_it_was_again(backbone: Backbone) -> None:
    moved = [backbone.network.norm.weight, backbone.network.blocks[0].norm1.weight]
    before = [tensor.detach().clone() for tensor in moved]
    for tensor in moved:
        tensor.data += 1
    with pytest.raises(EnvironmentMissingError, match=r"2 tensors \(first 'blocks.0.norm1.weight'\)"):
        refuse_moved(backbone)
    for tensor, old in zip(moved, before, strict=True):
        tensor.data.copy_(old)
    refuse_moved(backbone)


def test_statistics_that_a_pass_in_train_mode_moves_are_found() -> None:
    backbone = Backbone("test_efficientnet", "random", (-1,), None, 64)
    backbone.network.train()
    backbone.features(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    backbone.network.eval()
    (finding,) = check_frozen(backbone)
    assert "running_mean" in finding.message or "num_batches_tracked" in finding.message


def test_an_adapter_that_was_trained_and_taken_out_moves_nothing(backbone: Backbone) -> None:
    settings = AdapterSettings(kind="lora", rank=4, alpha=8.0, targets="attention", adapted_blocks=2)
    with adapted(backbone, settings, seed=0):
        backbone.network.blocks[5].attn.proj.lora_B["default"].weight.data.fill_(0.1)
    assert check_frozen(backbone) == []
