"""LoRA inside the last blocks of a backbone, by peft.

Targets are full-match regular expressions on the network's own module names: a bare `proj` would also hit the
patch embedding of a ViT.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model.backbone import Backbone

_TRANSFORMER_TARGETS = {
    "attention": r"attn\.(qkv|q_proj|k_proj|v_proj|proj)",
    "attention_mlp": r"(attn\.(qkv|q_proj|k_proj|v_proj|proj)|mlp\.(fc1|fc2))",
}
# A CNN has no attention: its counterpart are the 1x1 convolutions that project back to the block's channels;
# with the MLP come those that expand (and the only one of a depthwise-separable block, also named conv_pw).
_CNN_TARGETS = {"attention": r"\d+\.(conv_pwl)", "attention_mlp": r"\d+\.(conv_pw|conv_pwl)"}


def match_targets(backbone: Backbone, targets: str, adapted_blocks: int | str) -> str:
    """Regular expression of the modules to adapt.

    Args:
        backbone: its used blocks are counted from the last one that a feature is read from.
        targets: `attention` or `attention_mlp`.
        adapted_blocks: how many of the used blocks, from the last, or "all".

    Raises:
        UsageError: nothing in those blocks can be adapted.
    """
    n_used = backbone.n_blocks
    n_adapted = n_used if adapted_blocks == "all" else min(int(adapted_blocks), n_used)
    numbers = "|".join(str(block) for block in range(n_used - n_adapted, n_used))
    inner = (_TRANSFORMER_TARGETS if backbone.is_transformer else _CNN_TARGETS)[targets]
    pattern = rf"blocks\.({numbers})\.{inner}"
    if not list_targets(backbone.network, pattern):
        raise UsageError(f"{backbone.name} has no module that matches {pattern}, so there is nothing to adapt")
    return pattern


def list_targets(network: nn.Module, pattern: str) -> list[str]:
    """Names of the modules that a pattern matches in full."""
    import re

    return [name for name, _ in network.named_modules() if re.fullmatch(pattern, name)]


@contextmanager
def adapted(
    backbone: Backbone,
    *,
    adapter: str,
    rank: int,
    alpha: float,
    targets: str,
    adapted_blocks: int | str,
    seed: int,
) -> Iterator[Any]:
    """Put an adapter into the backbone's network for the length of a `with`; afterwards it is as before.

    Its B starts at zero, so that step 0 equals the frozen network.

    Yields:
        The PeftModel; its `disable_adapter()` gives the frozen network back, exactly.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=match_targets(backbone, targets, adapted_blocks),
        lora_dropout=0.0,
        bias="none",
        use_rslora=adapter == "rslora",
        use_dora=adapter == "dora",
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)  # peft draws A from the global generator
    try:
        peft_model = get_peft_model(backbone.network, config)
    finally:
        torch.random.set_rng_state(state)
    backbone.network.eval()
    try:
        yield peft_model
    finally:
        peft_model.unload()
        backbone.network.eval().requires_grad_(False)
