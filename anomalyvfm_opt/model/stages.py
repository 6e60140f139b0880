"""Running a network in two parts: up to the end of one of its blocks, and on from there.

timm's own forward pass does both, block by block: for the length of a pass, blocks that are not to run hand on
what they are given instead. So each family of models keeps its own ways, such as rotary position embeddings.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_Forward = Callable[..., Any]


@contextmanager
def started_from(network: Any, given: Mapping[int, Tensor], entrance: Tensor | None) -> Iterator[None]:
    """Have the network begin behind a block, for the length of a `with`.

    Args:
        network: with `blocks`.
        given: the output of the first n blocks, by n: of the last of them, and of all that are read on the way.
            With none, the network runs from its input.
        entrance: a blank that stands for the output of the layer that the input enters by.
    """
    if not given:
        yield
        return
    begun = max(given)
    forwards: dict[nn.Module, _Forward] = {
        block: _hand_on(given.get(index)) for index, block in enumerate(network.blocks[:begun], start=1)
    }
    first, *others = _list_before_blocks(network)
    forwards[first] = _hand_on(entrance)
    forwards |= {
        module: _hand_on(None) for module in others if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    with _standing_in(forwards):
        yield


@contextmanager
def recorded(network: Any, ends: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Note what blocks give, and run none behind the last of them, for the length of a `with`.

    Args:
        network: with `blocks`.
        ends: how many blocks have run where an output is noted, each at least 1.

    Yields:
        The outputs of the latest pass, by how many blocks gave them.
    """
    noted: dict[int, Tensor] = {}

    def note(end: int, forward: _Forward) -> _Forward:
        def run(*inputs: Any, **options: Any) -> Any:
            noted[end] = output = forward(*inputs, **options)
            return output

        return run

    blocks = list(network.blocks)
    forwards = {blocks[end - 1]: note(end, blocks[end - 1].forward) for end in ends}
    forwards |= {block: _hand_on(None) for block in blocks[max(ends) :]}
    with _standing_in(forwards):
        yield noted


def enter(network: Any, x: Tensor) -> Tensor:
    """Return the output of the layer that an input (b, 3, h, w) enters the network by."""
    output: Tensor = _list_before_blocks(network)[0](x)
    return output


def _list_before_blocks(network: Any) -> list[nn.Module]:
    """List the network's own modules that lie before its blocks, in order."""
    names = list(network._modules)
    return [network._modules[name] for name in names[: names.index("blocks")]]


def _hand_on(given: Tensor | None) -> _Forward:
    """Return a forward pass that gives a tensor, or its first input again."""

    def run(x: Tensor, *_others: Any, **_options: Any) -> Tensor:
        return x if given is None else given

    return run


@contextmanager
def _standing_in(forwards: Mapping[nn.Module, _Forward]) -> Iterator[None]:
    """Give modules another forward pass for the length of a `with`."""
    replaced = {module: module.__dict__["forward"] for module in forwards if "forward" in module.__dict__}
    for module, forward in forwards.items():
        module.forward = forward
    try:
        yield
    finally:
        for module in forwards:
            if module in replaced:
                module.forward = replaced[module]
            else:
                del module.forward  # the class's own is there again
