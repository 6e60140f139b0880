"""Which modules of a network are adapted, told by their names alone."""

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model.targets import choose_targets, list_matches, match_any_target

VIT = [f"blocks.{n}.{part}" for n in range(12) for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")]
NAMES = ["patch_embed.proj", *VIT, "norm"]


def choose(targets: str, adapted_blocks: int | str, modules: list[str] = NAMES) -> list[str]:
    pattern = choose_targets("a vit", modules, 12, targets, adapted_blocks, is_transformer=True)
    return list_matches(modules, pattern)


def test_attention_of_the_last_blocks_without_the_patch_embedding() -> None:
    assert choose("attention", 2) == [f"blocks.{n}.attn.{part}" for n in (10, 11) for part in ("qkv", "proj")]


def test_all_blocks_with_the_mlp() -> None:
    assert choose("attention_mlp", "all") == VIT
    assert choose("attention_mlp", 99) == VIT
    assert list_matches(NAMES, match_any_target(is_transformer=True)) == VIT


def test_nothing_to_adapt_is_said() -> None:
    with pytest.raises(UsageError, match="nothing to adapt"):
        choose("attention", "all", ["conv1", "layer1.0.conv1"])


def test_an_mlp_that_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match="has no MLP"):
        choose("attention_mlp", "all", [name for name in VIT if "attn" in name])
