"""A trained detector on the disk: adapter and heads, without the backbone, in one safetensors file.

Tensors are `adapter.<parameter>`, `decoder.<parameter>`, `predictor.<parameter>`, and for AdaLoRA
`mask.<layer>`: which singular values are left. The file's header holds what they belong to, as JSON, so that the
two cannot be mixed up. What only a continued training needs (optimiser, AdaLoRA's importances, dropout's
generator) is in `training.state`; a finished trial does without.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import open_plain
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.model.heads import find_decoder_width

DETECTOR = "detector"  # the kind of artifact that such a file is
_KIND = "anomalyvfm-opt detector"
_SCHEMA = 1
_DAMAGED, _AGAIN = "its header is damaged", "copy it again, or retrain"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a checkpoint belongs to; two detectors with the same can exchange their tensors.

    Args:
        backbone: its name in timm.
        weights_sha256: of its frozen weights.
        image_size_px: side of its input.
        decoder_blocks, patch_blocks: whose maps are read, counted from 0.
        adapter: kind, rank, alpha, targets, adapted blocks and dropout.
        steps: optimiser steps that the adapter was made for.
    """

    backbone: str
    weights_sha256: str
    image_size_px: int
    decoder_blocks: tuple[int, ...]
    patch_blocks: tuple[int, ...]
    adapter: AdapterSettings
    steps: int

    @classmethod
    def of(cls, detector: Detector) -> Self:
        """Return the identity of a detector that has an adapter."""
        backbone, adapter = detector.backbone, detector.adapter
        if adapter is None:
            raise ValueError("a frozen detector has nothing to keep")
        return cls(**_identify_backbone(backbone), adapter=adapter.settings, steps=adapter.steps)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read an identity from what `asdict` makes of one, through JSON; further keys do not matter."""
        fields = {field.name: content[field.name] for field in dataclasses.fields(cls)}
        blocks = {name: tuple(fields[name]) for name in ("decoder_blocks", "patch_blocks")}
        return cls(**{**fields, **blocks, "adapter": AdapterSettings(**fields["adapter"])})


def pack_detector(detector: Detector) -> bytes:
    """Pack a detector's trained tensors as the bytes of a checkpoint; the same detector gives the same bytes."""
    from safetensors.torch import save

    content = {"kind": _KIND, "schema": _SCHEMA, **asdict(Identity.of(detector))}
    tensors = {name: t.detach().cpu().contiguous() for name, t in list_trained(detector).items()}
    tensors |= {f"mask.{name}": mask for name, mask in detector.allocation.masks().items()}
    packed: bytes = save(tensors, {"detector": json.dumps(content, sort_keys=True)})
    return packed


def read_identity(path: Path) -> Identity:
    """Read what a checkpoint belongs to.

    Raises:
        EnvironmentMissingError: no such file, or not for us to read.
        UsageError: not a whole checkpoint of a detector, or one of a newer format.
    """
    header, _ = _read(path, with_tensors=False)
    return _parse_header(path, header)


def load_detector(path: Path, detector: Detector) -> None:
    """Fill an equal detector with a checkpoint's tensors.

    Raises:
        EnvironmentMissingError: no such file, or not for us to read.
        UsageError: not a whole checkpoint, or one of another backbone or of other settings; all are named.
    """
    header, tensors = _read(path)
    _check_same(path, _parse_header(path, header), Identity.of(detector))
    own = list_trained(detector)
    masks = {name.removeprefix("mask."): tensors.pop(name) for name in list(tensors) if name.startswith("mask.")}
    for name in own.keys() | tensors.keys():
        shapes = [tuple(side[name].shape) if name in side else "absent" for side in (tensors, own)]
        if shapes[0] != shapes[1]:
            raise UsageError(f"checkpoint {path}: {name} is {shapes[0]} in it, {shapes[1]} in the detector")
    if not all(t.isfinite().all() for t in tensors.values()):
        raise UsageError(f"checkpoint {path} holds numbers that are not finite", _AGAIN)
    if _list_shapes(masks) != _list_shapes(detector.allocation.masks()):
        raise UsageError(f"checkpoint {path}: its ranks left are not those of the detector's layers", _AGAIN)
    for name, parameter in own.items():
        parameter.data.copy_(tensors[name])
    detector.allocation.restore(masks)


@contextmanager
def open_detector(path: Path, backbone: Backbone) -> Iterator[Detector]:
    """Open the detector of a checkpoint, inside its backbone for the length of a `with`.

    Raises:
        EnvironmentMissingError: no such file, or not for us to read.
        UsageError: not a whole checkpoint, or one of another backbone.
    """
    identity = read_identity(path)
    _check_same(path, identity, dataclasses.replace(identity, **_identify_backbone(backbone)))
    width = find_decoder_width(_read(path)[1])
    with build_detector(backbone, identity.adapter, seed=0, steps=identity.steps, decoder_width=width) as detector:
        load_detector(path, detector)
        yield detector


def _identify_backbone(backbone: Backbone) -> dict[str, Any]:
    return {
        "backbone": backbone.name,
        "weights_sha256": backbone.weights_sha256,
        "image_size_px": backbone.image_size_px,
        "decoder_blocks": backbone.decoder_blocks,
        "patch_blocks": backbone.patch_blocks,
    }


def list_trained(detector: Detector) -> dict[str, nn.Parameter]:
    """List all parameters that training changes: `adapter.<name>`, `decoder.<name>`, `predictor.<name>`."""
    adapter = {n: p for n, p in detector.backbone.network.named_parameters() if p.requires_grad}
    parts = {"adapter": adapter}
    for name, head in (("decoder", detector.decoder), ("predictor", detector.predictor)):
        parts[name] = dict(head.named_parameters()) if head is not None else {}
    return {f"{part}.{name}": p for part, parameters in parts.items() for name, p in parameters.items()}


def _list_shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in tensors.items()}


def _read(path: Path, with_tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with open_plain(path), safe_open(path, framework="pt") as file:
            names = list(file.keys()) if with_tensors else []
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise EnvironmentMissingError(f"cannot read the checkpoint {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise UsageError(f"checkpoint {path} is damaged, or no safetensors file: {error}", _AGAIN) from None


def _parse_header(path: Path, header: dict[str, str]) -> Identity:
    content = _load_json(header.get("detector", "{}"))
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise UsageError(f"{path} is no checkpoint of a detector", "weights of a backbone are given by --weights")
    if content.get("schema") != _SCHEMA:
        raise UsageError(
            f"checkpoint {path} has format {str(content.get('schema'))[:20]}, this program reads {_SCHEMA}",
            "use the version of the program that wrote it",
        )
    try:
        return Identity.from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"checkpoint {path} does not say what it belongs to: {_DAMAGED}", _AGAIN) from None


def _load_json(text: str) -> Any:
    """Parse a header's JSON; None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _check_same(path: Path, stored: Identity, wanted: Identity) -> None:
    one, other = (_flatten(identity) for identity in (stored, wanted))
    differences = [f"{name} {one[name]}, not {other[name]}" for name in one if one[name] != other[name]]
    if differences:
        raise UsageError(f"checkpoint {path} is of another detector: it has " + "; ".join(differences))


def _flatten(identity: Identity) -> dict[str, Any]:
    fields = asdict(identity)
    return {**{f"adapter's {name}": value for name, value in fields.pop("adapter").items()}, **fields}
