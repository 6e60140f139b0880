"""`detector.onnx`: a detector's graph in ONNX's format, and what its card says of it."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.evaluation.scorers import SCORERS, list_parts
from anomalyvfm_opt.inference.card import TensorCard
from anomalyvfm_opt.inference.graph import Graph

OPSET = 18  # of ONNX's operations; 1.13 of December 2022 and later know it
INSTALL = "pip install 'anomalyvfm-opt[onnx]'"
_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_LARGEST = 2**31 - 2**20  # bytes: a file of this format cannot have 2 GiB
_TALKATIVE = ("onnxscript", "onnx_ir", "torch.onnx")
_TRACED = 2  # frames: with one, an exporter takes the number for a constant


def require_exporter() -> None:
    """See that what writes and proves a graph is installed.

    Raises:
        EnvironmentMissingError: one of the libraries cannot be imported.
    """
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise EnvironmentMissingError(
                f"a graph is written by the library {name}, which cannot be imported here ({error})", INSTALL
            ) from None


def refuse_without_graph(scorer: str, map_scorer: str, has_heads: bool) -> None:
    """See that a scorer, and the one whose map is given with it, can be put into a graph.

    Raises:
        UsageError: one of them, or a part of the ensemble, cannot; it is named.
    """
    parts = [*list_parts(scorer, has_heads), *list_parts(map_scorer, has_heads)]
    lacking = next((one.name for one in parts if one.trace is None), None)
    if lacking is None:
        return
    whose = lacking if lacking == scorer else f"{lacking}, which {scorer} is given with,"
    able = ", ".join(one.name for one in SCORERS if one.trace is not None)
    raise UsageError(
        f"the scorer {whose} cannot be written as an ONNX graph",
        f"export without --onnx, or name another scorer: --scorer, one of {able}",
    )


def pack_graph(graph: Graph, backbone: str) -> bytes:
    """Return a graph as a file, for any number of frames.

    Args:
        graph: of a detector on the CPU.
        backbone: its name, for messages.

    Raises:
        UsageError: torch cannot write this network as a graph, or the file would have 2 GiB.
    """
    geometry = graph.geometry
    images = torch.zeros(_TRACED, *geometry.frame_px, 3, dtype=torch.uint8)
    inputs: tuple[torch.Tensor, ...] = (images,)
    if geometry.keeps_aspect:
        inputs = images, torch.tensor([geometry.frame_px] * _TRACED)
    any_number = torch.export.Dim("n")
    try:
        with torch.no_grad(), _hushed():
            program = torch.onnx.export(
                graph.eval(),
                inputs,
                input_names=list(describe_inputs(graph)),
                output_names=["score", "map"],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=tuple({0: any_number} for _ in inputs),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise UsageError(
            f"torch {torch.__version__} cannot write {backbone} as an ONNX graph: {reason}",
            "export without --onnx",
        ) from error
    if program is None:
        raise ValueError("an exporter that returns no program")
    return _serialise(program, backbone)


def describe_inputs(graph: Graph) -> dict[str, TensorCard]:
    """Return what a graph is to be given, by name."""
    height, width = graph.geometry.frame_px
    inputs = {
        "images": TensorCard(
            dtype="uint8",
            shape=("n", height, width, 3),
            meaning="frames: R, G, B of 0-255, resized as geometry says; normalised inside",
        )
    }
    if graph.geometry.keeps_aspect:
        inputs["content_px"] = TensorCard(
            dtype="int64",
            shape=("n", 2),
            meaning="height and width of each image in its frame, from the top left; the rest is padding",
        )
    return inputs


def describe_outputs(grid: tuple[int, int]) -> dict[str, TensorCard]:
    """Return what a graph gives, by name.

    Args:
        grid: rows and columns of a map.
    """
    return {
        "score": TensorCard(dtype="float32", shape=("n",), meaning="raw score; the higher, the more anomalous"),
        "map": TensorCard(
            dtype="float32",
            shape=("n", 1, *grid),
            meaning="raw map of the frame in coarse cells, by map_scorer; cells of mere padding mean nothing",
        ),
    }


def _serialise(program: Any, backbone: str) -> bytes:
    """Return the bytes of a program, without what tells of the host that it was written on."""
    size = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
    if size > _LARGEST:
        raise UsageError(
            f"the graph of {backbone} has {size / 2**30:.1f} GiB of constants, and an ONNX file holds 2 GiB",
            "export without --onnx",
        )
    model = program.model_proto
    for holder in (model.graph, *model.functions):
        for part in (holder, *holder.node, *holder.value_info):
            part.ClearField("metadata_props")  # traces of the stack, with the paths of this host
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.ClearField("metadata_props")
    model.ClearField("metadata_props")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep the exporter's warnings, which are about its own workings, from people, for the length of a `with`."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
