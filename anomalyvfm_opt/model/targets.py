"""Which modules of a backbone an adapter goes into, by their names alone: no torch in here.

Targets are full-match regular expressions on the network's own module names: a bare `proj` would also hit the
patch embedding of a ViT.
"""

import re
from collections.abc import Sequence

from anomalyvfm_opt.errors import UsageError

_ATTENTION = r"attn\.(qkv|q_proj|k_proj|v_proj|proj)"
_MLP = r"mlp\.(fc1|fc1_g|fc1_x|fc2)"  # SwiGLU's first layer is one of twice the width, or two: gate and value
_TRANSFORMER_TARGETS = {"attention": _ATTENTION, "attention_mlp": f"({_ATTENTION}|{_MLP})"}
# A CNN has no attention: its counterpart are the 1x1 convolutions that project back to the block's channels;
# with the MLP come those that expand (and the only one of a depthwise-separable block, also named conv_pw).
_CNN_TARGETS = {"attention": r"\d+\.(conv_pwl)", "attention_mlp": r"\d+\.(conv_pw|conv_pwl)"}


def choose_targets(
    name: str,
    modules: Sequence[str],
    n_blocks: int,
    targets: str,
    adapted_blocks: int | str,
    *,
    is_transformer: bool,
) -> str:
    """Return the regular expression of the modules to adapt.

    Args:
        name: of the backbone, for messages.
        modules: names of its network's modules.
        n_blocks: its used blocks, counted from the last one that a feature is read from.
        targets: `attention` or `attention_mlp`.
        adapted_blocks: how many of the used blocks, from the last, or "all".
        is_transformer: whether it is a ViT, else a CNN.

    Raises:
        UsageError: nothing in those blocks can be adapted, or no MLP where one is to be.
    """
    n_adapted = n_blocks if adapted_blocks == "all" else min(int(adapted_blocks), n_blocks)
    numbers = "|".join(str(block) for block in range(n_blocks - n_adapted, n_blocks))
    inner = _TRANSFORMER_TARGETS if is_transformer else _CNN_TARGETS
    few, chosen = (rf"blocks\.({numbers})\.{inner[choice]}" for choice in ("attention", targets))
    found = list_matches(modules, chosen)
    if not found:
        raise UsageError(f"{name} has no module that matches {chosen}, so there is nothing to adapt")
    if targets == "attention_mlp" and found == list_matches(modules, few):
        raise UsageError(f"{name} has no MLP that matches {chosen}", "use targets: [attention]")
    return chosen


def list_matches(modules: Sequence[str], pattern: str) -> list[str]:
    """Return the names that a pattern matches in full."""
    return [name for name in modules if re.fullmatch(pattern, name)]


def match_any_target(*, is_transformer: bool) -> str:
    """Return the regular expression of all modules that can be adapted in any way."""
    inner = _TRANSFORMER_TARGETS if is_transformer else _CNN_TARGETS
    return rf"blocks\.\d+\.{inner['attention_mlp']}"
