"""An adapter that fails in its third layer, of every kind: the shared backbone is bit for bit what it was."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from anomalyvfm_opt.model.adapter import adapted
from anomalyvfm_opt.model.adapter_kinds import ADAPTER_KINDS, AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone

BACKBONES = {
    "cnn": ("tf_efficientnet_lite0", "offline", (1, 2), (2, 3), 32),
    "vit": ("test_vit.r160_in1k", "random", (0, 1), None, 32),
}
SETTINGS = AdapterSettings(
    kind="lora", rank=4, alpha=8.0, targets="attention_mlp", adapted_blocks="all", dropout=0.1
)
STEPS = 8


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return Backbone(*BACKBONES[request.param])


def describe(network: nn.Module) -> dict[str, object]:
    """What an insertion could leave: which objects, of which classes, with which attributes and hooks."""
    modules = {
        f"module {name}": (id(module), type(module), module.training, sorted(vars(module)))
        for name, module in network.named_modules()
    }
    hooks = {
        f"hooks {name}": (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
        for name, module in network.named_modules()
    }
    tensors = {
        f"tensor {name}": (id(t), t.dtype, t.stride(), t.requires_grad)
        for name, t in [*network.named_parameters(), *network.named_buffers()]
    }
    return {**modules, **hooks, **tensors}


def copy_values(network: nn.Module) -> dict[str, Tensor]:
    """All values as bytes, so that -0.0 is not 0.0 and NaN is itself."""
    return {name: as_bytes(t).clone() for name, t in network.state_dict().items()}


def as_bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def break_at_third(monkeypatch: pytest.MonkeyPatch, kind: str, moment: str) -> list[str]:
    """Let peft fail while it makes the third layer, or when that has just been put into the network."""
    from peft.tuners.adalora import AdaLoraModel
    from peft.tuners.lora import LoraModel

    model: Any = AdaLoraModel if kind == "adalora" else LoraModel
    name = {"made": "_create_new_module", "put in": "_replace_module"}[moment]
    original: Callable[..., object] = getattr(model, name)
    calls: list[str] = []

    def fail(*arguments: Any, **options: Any) -> object:
        calls.append(moment)
        if len(calls) == 3 and moment == "made":
            raise RuntimeError("out of memory")
        result = original(*arguments, **options)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return result

    monkeypatch.setattr(model, name, staticmethod(fail) if moment == "made" else fail)
    return calls


def draw_outcome(backbone: Backbone, settings: AdapterSettings) -> list[Tensor]:
    """The first values of an adapter, which a spoilt network or a disturbed generator would change."""
    with adapted(backbone, settings, seed=1, steps=STEPS) as adapter:
        adapter.train()
        return [as_bytes(p).clone() for p in adapter.peft_model.parameters()]


@pytest.mark.parametrize("moment", ["made", "put in"])
@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_an_error_in_the_third_layer_leaves_no_trace(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, kind: str, moment: str
) -> None:
    settings = replace(SETTINGS, kind=kind)
    expected = draw_outcome(backbone, settings)
    before, values = describe(backbone.network), copy_values(backbone.network)
    with monkeypatch.context() as broken:
        calls = break_at_third(broken, kind, moment)
        with (
            pytest.raises(RuntimeError, match="out of memory"),
            adapted(backbone, settings, seed=1, steps=STEPS),
        ):
            pass
    assert len(calls) == 3
    assert describe(backbone.network) == before
    after = copy_values(backbone.network)
    assert after.keys() == values.keys()
    assert [name for name in values if not torch.equal(after[name], values[name])] == []
    assert backbone.list_moved() == []
    again = draw_outcome(backbone, settings)
    assert len(again) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))
