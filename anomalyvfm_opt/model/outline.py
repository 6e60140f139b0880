"""What a backbone can give: blocks, patches, and the sides of its layers. No torch in here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model.targets import choose_targets, list_matches


@dataclass(frozen=True)
class Outline:
    """As much of a backbone as a spec is checked against.

    Args:
        block_ends: how many of the network's blocks run to reach the feature of each index.
        reductions: pixels (px) of the input that a cell of each feature's map stands for.
        patch_px: side of a ViT's patch (px); None for a CNN.
        layers: the smaller side (channels) of each layer that can be adapted, by its name, in the network's order.
    """

    block_ends: tuple[int, ...]
    reductions: tuple[int, ...]
    patch_px: int | None
    layers: Mapping[str, int]

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Return the outline that `to_json` made this of.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        ends, reductions = (tuple(map(int, found[name])) for name in ("block_ends", "reductions"))
        patch_px = None if found["patch_px"] is None else int(found["patch_px"])
        layers = {str(name): int(side) for name, side in dict(found["layers"]).items()}
        return cls(block_ends=ends, reductions=reductions, patch_px=patch_px, layers=layers)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)

    def measure_targets(self, name: str, n_blocks: int, targets: str, adapted_blocks: int | str) -> dict[str, int]:
        """Return the smaller side (channels) of each layer that would be adapted, by its name.

        Args:
            name: of the backbone, for messages.
            n_blocks: how many of the network's blocks are used.
            targets: `attention` or `attention_mlp`.
            adapted_blocks: how many of the used blocks, from the last, or "all".

        Raises:
            UsageError: nothing in those blocks can be adapted.
        """
        names = list(self.layers)
        is_transformer = self.patch_px is not None
        pattern = choose_targets(name, names, n_blocks, targets, adapted_blocks, is_transformer=is_transformer)
        return {layer: self.layers[layer] for layer in list_matches(names, pattern)}


def resolve_indices(name: str, block_ends: Sequence[int], blocks: Sequence[int]) -> tuple[list[int], int]:
    """Return non-negative feature indices, and how many of the network's blocks run to reach the last of them.

    Args:
        name: of the backbone, for messages.
        block_ends: as in `Outline`.
        blocks: indices of features; negative ones count from the last.

    Raises:
        UsageError: there is no such block.
    """
    for index in blocks:
        if not -len(block_ends) <= index < len(block_ends):
            raise UsageError(f"backbone: block {index} is not among the {len(block_ends)} blocks of {name}")
    indices = sorted({index % len(block_ends) for index in blocks})
    return indices, block_ends[indices[-1]]
