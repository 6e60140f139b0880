"""LoRA inside the last blocks of a backbone, by peft.

Targets are full-match regular expressions on the network's own module names: a bare `proj` would also hit the
patch embedding of a ViT.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model.backbone import Backbone

_ATTENTION = r"attn\.(qkv|q_proj|k_proj|v_proj|proj)"
_MLP = r"mlp\.(fc1|fc1_g|fc1_x|fc2)"  # SwiGLU's first layer is one of twice the width, or two: gate and value
_TRANSFORMER_TARGETS = {"attention": _ATTENTION, "attention_mlp": f"({_ATTENTION}|{_MLP})"}
# A CNN has no attention: its counterpart are the 1x1 convolutions that project back to the block's channels;
# with the MLP come those that expand (and the only one of a depthwise-separable block, also named conv_pw).
_CNN_TARGETS = {"attention": r"\d+\.(conv_pwl)", "attention_mlp": r"\d+\.(conv_pw|conv_pwl)"}


@dataclass(frozen=True)
class AdapterSettings:
    """Which adapter goes where.

    Args:
        kind: `lora`, `rslora` or `dora`.
        rank: of the update.
        alpha: the update is scaled by alpha / rank (rslora: by alpha / sqrt(rank)).
        targets: `attention` or `attention_mlp`.
        adapted_blocks: how many of the used blocks, from the last, or "all".
    """

    kind: str
    rank: int
    alpha: float
    targets: str
    adapted_blocks: int | str


def match_targets(backbone: Backbone, targets: str, adapted_blocks: int | str) -> str:
    """Regular expression of the modules to adapt.

    Args:
        backbone: its used blocks are counted from the last one that a feature is read from.
        targets: `attention` or `attention_mlp`.
        adapted_blocks: how many of the used blocks, from the last, or "all".

    Raises:
        UsageError: nothing in those blocks can be adapted, or no MLP where one is to be.
    """
    n_used = backbone.n_blocks
    n_adapted = n_used if adapted_blocks == "all" else min(int(adapted_blocks), n_used)
    numbers = "|".join(str(block) for block in range(n_used - n_adapted, n_used))
    inner = _TRANSFORMER_TARGETS if backbone.is_transformer else _CNN_TARGETS
    few, chosen = (rf"blocks\.({numbers})\.{inner[choice]}" for choice in ("attention", targets))
    found = list_targets(backbone.network, chosen)
    if not found:
        raise UsageError(f"{backbone.name} has no module that matches {chosen}, so there is nothing to adapt")
    if targets == "attention_mlp" and found == list_targets(backbone.network, few):
        raise UsageError(f"{backbone.name} has no MLP that matches {chosen}", "use targets: [attention]")
    return chosen


def list_targets(network: nn.Module, pattern: str) -> list[str]:
    """Names of the modules that a pattern matches in full."""
    return [name for name, _ in network.named_modules() if re.fullmatch(pattern, name)]


@contextmanager
def adapted(backbone: Backbone, settings: AdapterSettings, seed: int) -> Iterator[Any]:
    """Put an adapter into the backbone's network for the length of a `with`; afterwards it is as before.

    Its B starts at zero, so that step 0 equals the frozen network.

    Yields:
        The PeftModel; its `disable_adapter()` gives the frozen network back, exactly.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=match_targets(backbone, settings.targets, settings.adapted_blocks),
        lora_dropout=0.0,
        bias="none",
        use_rslora=settings.kind == "rslora",
        use_dora=settings.kind == "dora",
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
