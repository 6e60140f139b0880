"""A pass that begins behind a block, and one that ends there, against the whole pass: bit for bit."""

from dataclasses import astuple
from typing import Any

import pytest
import torch
from torch import Tensor

from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.stages import recorded
from tests.unit.model.prefixes import NETWORKS, SMALL, counted, draw_images, open_backbone

COUNT = 3


@pytest.fixture(scope="module", params=NETWORKS)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return open_backbone(*NETWORKS[request.param])


@pytest.fixture
def small() -> Backbone:
    return open_backbone(*SMALL)


def draw_input(backbone: Backbone) -> Tensor:
    return backbone.normalise(draw_images(COUNT, backbone.image_size_px))


def list_replaced(backbone: Backbone) -> list[str]:
    return [name for name, module in backbone.network.named_modules() if "forward" in module.__dict__]


def test_a_pass_that_begins_behind_any_block_gives_the_features_of_the_whole(backbone: Backbone) -> None:
    x, depth = draw_input(backbone), len(backbone.network.blocks)
    with torch.no_grad():
        whole, outputs = backbone.features(x), backbone.run_blocks(x, range(1, depth + 1))
        for begun in range(1, backbone.n_blocks + 1):
            ends = {*(end for end in backbone.feature_ends if end < begun), begun}
            with counted(backbone) as ran:
                features = backbone.features(backbone.blank(COUNT), {end: outputs[end] for end in ends})
            assert set(ran) == set(range(begun + 1, backbone.n_blocks + 1))
            for ours, theirs in zip(astuple(features), astuple(whole), strict=True):
                assert torch.equal(ours, theirs), begun


def test_an_output_does_not_depend_on_where_the_pass_began_or_ended(backbone: Backbone) -> None:
    x, depth = draw_input(backbone), len(backbone.network.blocks)
    whole = backbone.run_blocks(x, range(1, depth + 1))
    for end in range(1, depth + 1):
        with counted(backbone) as ran:
            (output,) = backbone.run_blocks(x, [end]).values()
        assert torch.equal(output, whole[end])
        assert set(ran) == set(range(1, end + 1))
    for begun in range(1, depth):
        with counted(backbone) as ran:
            (output,) = backbone.run_blocks(backbone.blank(COUNT), [depth], {begun: whole[begun]}).values()
        assert torch.equal(output, whole[depth])
        assert set(ran) == set(range(begun + 1, depth + 1))


def test_a_pass_leaves_no_trace_in_the_network(backbone: Backbone) -> None:
    x = draw_input(backbone)
    with torch.no_grad():
        before = backbone.features(x)
        outputs = backbone.run_blocks(x, [1, 2])
        backbone.run_blocks(backbone.blank(COUNT), [2], {1: outputs[1]})
        backbone.features(backbone.blank(COUNT), outputs)
        after = backbone.features(x)
    assert list_replaced(backbone) == []
    assert all(torch.equal(*pair) for pair in zip(astuple(before), astuple(after), strict=True))
    assert backbone.list_moved() == []


def test_a_pass_that_fails_leaves_no_trace_either(small: Backbone) -> None:
    outputs = small.run_blocks(draw_input(small), [1, 2])

    def fail(_module: Any, _inputs: Any) -> None:
        assert list_replaced(small) != []
        raise ZeroDivisionError

    hook = small.network.blocks[3].register_forward_pre_hook(fail)
    try:
        with pytest.raises(ZeroDivisionError):
            small.run_blocks(small.blank(COUNT), [3, 4], outputs)
    finally:
        hook.remove()
    assert list_replaced(small) == []


def test_a_forward_pass_that_was_replaced_before_is_replaced_again_afterwards(small: Backbone) -> None:
    """As peft does with some of the layers that it adapts."""
    block = small.network.blocks[0]
    first = block.forward

    def double(*inputs: Any, **options: Any) -> Tensor:
        output: Tensor = 2 * first(*inputs, **options)
        return output

    block.forward = double
    try:
        outputs = small.run_blocks(draw_input(small), [1, 2])
        small.features(small.blank(COUNT), outputs)
        assert block.forward is double
    finally:
        del block.forward
    assert torch.equal(outputs[1], 2 * small.run_blocks(draw_input(small), [1])[1])


def test_the_latest_pass_is_the_one_that_is_noted(small: Backbone) -> None:
    one, other = (small.normalise(draw_images(COUNT, small.image_size_px, seed)) for seed in (1, 2))
    with torch.no_grad(), recorded(small.network, [2]) as noted:
        small.features(one)
        small.features(other)
    assert torch.equal(noted[2], small.run_blocks(other, [2])[2])


def test_a_network_in_memory_once_has_an_entrance_for_each_size() -> None:
    backbone = open_backbone(*NETWORKS["cnn-64"])
    other = backbone.at_size(96)
    x = draw_input(other)
    outputs = other.run_blocks(x, [1, 2])
    with torch.no_grad():
        whole, behind = other.features(x), other.features(other.blank(COUNT), outputs)
    assert all(torch.equal(*pair) for pair in zip(astuple(whole), astuple(behind), strict=True))
    with torch.no_grad():
        first = backbone.features(draw_input(backbone))
    assert first.patches.shape[2:] < whole.patches.shape[2:]
