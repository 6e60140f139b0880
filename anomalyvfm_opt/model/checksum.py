"""A cheap sum over the bits of each of a network's tensors, which tells whether one has moved."""

import torch
from torch import Tensor, nn

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes an element


def sum_bits(network: nn.Module) -> dict[str, int]:
    """Return a number for each parameter and buffer, from all of its bits, computed where the tensor lives.

    The bits are read as integers and added up with wrap-around: not as strict as a hash (equal elements may
    trade places), but a thousand times cheaper, and any training step or drift of a statistic shows.
    """
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    if not tensors:
        return {}
    sums = torch.stack([_sum(tensor.detach()) for tensor in tensors.values()])  # one transfer for all
    return dict(zip(tensors, sums.tolist(), strict=True))


def _sum(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    bits = tensor if tensor.dtype is torch.bool else tensor.view(_INTEGERS[tensor.element_size()])
    return bits.sum(dtype=torch.int64)
