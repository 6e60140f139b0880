import pytest
import torch
from torch import nn

from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.checksum import sum_bits
from anomalyvfm_opt.model.detector import build_detector


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_least_change_of_one_element_shows(dtype: torch.dtype) -> None:
    layer = nn.Conv2d(8, 4, 3).to(dtype=dtype, memory_format=torch.channels_last)
    before = sum_bits(layer)
    with torch.no_grad():
        layer.weight[1, 2, 0, 0] = torch.nextafter(layer.weight[1, 2, 0, 0], torch.tensor(9.0, dtype=dtype))
    after = sum_bits(layer)
    assert before.keys() == {"weight", "bias"}
    assert [name for name in before if before[name] != after[name]] == ["weight"]


def test_buffers_count_whether_they_are_saved_or_not() -> None:
    network = nn.BatchNorm2d(3)
    network.register_buffer("is_on", torch.tensor([True, False]), persistent=False)
    network.register_buffer("phases", torch.view_as_complex(torch.ones(3, 2)))
    before = sum_bits(network)
    network.is_on[1] = True  # type: ignore[index,operator]
    network(torch.randn(2, 3, 4, 4))
    moved = {name for name, value in sum_bits(network).items() if value != before[name]}
    assert moved == {"is_on", "running_mean", "running_var", "num_batches_tracked"}
    assert sum_bits(nn.ReLU()) == {}


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_vit3.r160_in1k"])
def test_an_adapter_that_came_and_went_moved_nothing(name: str) -> None:
    backbone = Backbone(name, "random", (-1,), None, 64)
    with build_detector(
        backbone, AdapterSettings(kind="lora", rank=4, alpha=8.0, targets="attention", adapted_blocks=2), seed=0
    ) as detector:
        heads = detector(torch.zeros(2, 64, 64, 3, dtype=torch.uint8)).heads
        assert heads is not None
        heads.image_logit.sum().backward()
        torch.optim.AdamW(detector.adapter_parameters(), lr=0.1).step()
    assert backbone.list_moved() == []
    with torch.no_grad():
        next(backbone.network.parameters())[0] += 1e-3
    assert len(backbone.list_moved()) == 1
