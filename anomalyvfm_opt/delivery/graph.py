"""`detector.onnx` put into a folder that is being made, after ONNX Runtime gave torch's scores by it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.evaluation.exam import Exam
from anomalyvfm_opt.evaluation.metrics import auroc
from anomalyvfm_opt.inference.card import Card, GraphCard
from anomalyvfm_opt.inference.folder import BACKBONE, GRAPH, GUIDE, write_files
from anomalyvfm_opt.inference.graph_file import OPSET, describe_inputs, describe_outputs, pack_graph
from anomalyvfm_opt.inference.graph_proof import GraphProof, prove_graph
from anomalyvfm_opt.inference.guide import write_guide
from anomalyvfm_opt.inference.selftest import measure_difference, read_frames
from anomalyvfm_opt.inference.standalone import StandaloneDetector
from anomalyvfm_opt.words import counted

_AUROC_CLOSE = 5e-5  # equal in four digits: among a million pairs of images some are as good as ties


def add_graph(
    folder: Path, card: Card, exam: Exam, stored: np.ndarray, weights: Path | None, say: Callable[[str], None]
) -> Card:
    """Write a detector's graph into its folder, and return the card that tells of it; its own file is not written.

    The detector is loaded from the folder's files, onto the CPU: there torch computes in float32, as a graph does.

    Args:
        folder: that is being made, with all other files in it.
        card: of the detector.
        exam: of the trial, whose images are scored.
        stored: scores of these that the trial stored, float64 (n,).
        weights: a file with the backbone's; None where the folder or a keyword tells where they are.
        say: takes a line for people.

    Raises:
        UsageError: the network cannot be written as a graph.
        EnvironmentMissingError: ONNX Runtime gives other scores, or the disk refuses.
    """
    say(f"writing {GRAPH} and scoring {counted(len(exam.keys), 'image')} by it")
    with StandaloneDetector(folder, weights=weights, device="cpu") as detector:
        with detector.traced() as graph:
            content = pack_graph(graph, card.backbone.name)
            inputs = describe_inputs(graph)
        proof = prove_graph(content, detector, exam.images, list(exam.keys))
        tested = len(read_frames(detector))
    described = GraphCard(
        opset=OPSET,
        inputs=inputs,
        outputs=describe_outputs(proof.grid),
        proof=_describe(_accept(proof, exam), proof, stored),
    )
    whole = card.model_copy(update={"onnx": described})
    guide = write_guide(whole, has_backbone=BACKBONE in card.files, tested=tested)
    written = write_files(folder, {GRAPH: content, GUIDE: guide.encode()})
    return whole.model_copy(update={"files": {**card.files, **written}})


def _accept(proof: GraphProof, exam: Exam) -> dict[str, float]:
    """Return the AUROC by either, where scores, maps and AUROC are the same."""
    found = {"torch": auroc(proof.wanted, exam.labels), "onnx": auroc(proof.found, exam.labels)}
    if proof.problem is not None:
        raise EnvironmentMissingError(
            f"ONNX Runtime {proof.runtime} does not give torch's scores and maps by the graph:"
            f" {proof.problem.describe()}; nothing is written",
            "export without --onnx, or with other versions of torch, onnxscript and onnxruntime",
        )
    if abs(found["torch"] - found["onnx"]) > _AUROC_CLOSE:
        raise EnvironmentMissingError(
            f"the graph has an AUROC of {found['onnx']:.6f} by ONNX Runtime {proof.runtime}, and"
            f" {found['torch']:.6f} by torch; nothing is written",
            "export without --onnx",
        )
    return found


def _describe(aurocs: dict[str, float], proof: GraphProof, stored: np.ndarray) -> dict[str, Any]:
    return {
        "images": proof.scores.images,
        "largest_difference": proof.scores.difference,
        "allowed": proof.scores.allowed,
        "largest_difference_of_maps": proof.maps.difference,
        "allowed_in_maps": proof.maps.allowed,
        "batches": proof.batches,
        "auroc": aurocs,
        "largest_difference_from_trial": float(measure_difference(stored, proof.found).max()),
        "versions": {"onnxruntime": proof.runtime, "torch": torch.__version__},
    }
