"""`adapter/` in peft's own format: `PeftModel.from_pretrained` on the timm network loads it.

Of AdaLoRA all initial ranks are written, the pruned ones with singular values of 0, and no `rank_pattern`: with
one, peft would make the layers smaller, for which it was not made to give the same scores.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from torch import Tensor

from anomalyvfm_opt.inference.folder import ADAPTER_CONFIG, ADAPTER_MODEL
from anomalyvfm_opt.inference.tensors import check_shapes, pack_tensors
from anomalyvfm_opt.model.detector import Detector

_ADALORA = "ADALORA"  # of peft's PeftType, which is a string


def pack_adapter(detector: Detector) -> dict[str, bytes]:
    """Return the two files of a detector's adapter, by their paths in the folder."""
    config = copy(_config_of(detector))
    config.inference_mode, config.base_model_name_or_path = True, None
    if config.peft_type == _ADALORA:
        config.rank_pattern = None
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        written = (Path(folder) / "adapter_config.json").read_bytes()
    return {ADAPTER_CONFIG: written, ADAPTER_MODEL: pack_tensors(list_adapter(detector))}


def list_adapter(detector: Detector) -> dict[str, Tensor]:
    """List the tensors of a detector's adapter by peft's names."""
    from peft import get_peft_model_state_dict

    with _all_ranks(detector):
        tensors: dict[str, Tensor] = get_peft_model_state_dict(detector.peft_model)
    return tensors


def fill_adapter(detector: Detector, tensors: dict[str, Tensor], origin: Path) -> None:
    """Fill a detector's fresh adapter.

    Args:
        detector: whose adapter has the settings of the file's.
        tensors: by peft's names.
        origin: the file that they are from, for messages.

    Raises:
        UsageError: they are of another adapter.
    """
    from peft import set_peft_model_state_dict

    check_shapes(tensors, list_adapter(detector), origin)
    set_peft_model_state_dict(detector.peft_model, tensors)


@contextmanager
def _all_ranks(detector: Detector) -> Iterator[None]:
    """Have peft write all ranks of AdaLoRA, for the length of a `with`."""
    config = _config_of(detector)
    if config.peft_type != _ADALORA:
        yield
        return
    pattern, config.rank_pattern = config.rank_pattern, None
    try:
        yield
    finally:
        config.rank_pattern = pattern


def _config_of(detector: Detector) -> Any:
    if detector.peft_model is None:
        raise ValueError("a frozen detector has no adapter")
    return detector.peft_model.peft_config["default"]
