"""Tensors out of a file of a detector's folder, checked before they are used."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.inference.folder import AGAIN


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as the bytes of a safetensors file; the same tensors give the same bytes."""
    from safetensors.torch import save

    packed: bytes = save({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()})
    return packed


def unpack_tensors(content: bytes, origin: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, all of them finite.

    Args:
        content: of the file.
        origin: its name, for messages.

    Raises:
        UsageError: it is damaged, or holds numbers that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, Tensor] = load(content)
    except SafetensorError as error:
        raise UsageError(f"{origin} is damaged, or no safetensors file: {error}", AGAIN) from None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UsageError(f"{origin}: {name} holds numbers that are not finite", AGAIN)
    return tensors


def check_shapes(given: Mapping[str, Tensor], own: Mapping[str, Tensor], origin: Path) -> None:
    """See that a file has exactly the tensors that a detector of its settings has.

    Raises:
        UsageError: one is missing, too much, or of another shape or type; the first is named.
    """
    for name in sorted(own.keys() | given.keys()):
        sides = [_describe(side.get(name)) for side in (given, own)]
        if sides[0] != sides[1]:
            raise UsageError(
                f"{origin}: {name} is {sides[0]}, and {sides[1]} in a detector of these settings", AGAIN
            )


def _describe(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
