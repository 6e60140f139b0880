"""Whether ONNX Runtime gives for a graph what torch gives for the detector that it was made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.evaluation.stitching import mark_content
from anomalyvfm_opt.inference.folder import GRAPH, read_file
from anomalyvfm_opt.inference.selftest import (
    Agreement,
    compare,
    list_minuends,
    measure_difference,
    name_frames,
    read_frames,
)
from anomalyvfm_opt.inference.standalone import StandaloneDetector

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ALLOWED = 1e-4  # largest relative difference of a score from torch's
# of a cell of a map: a distance to a remembered patch that is about the same is the root of what is left of large
# numbers, and its error many times that of a score, which is a mean of high cells
ALLOWED_IN_MAPS = 1e-2
_TILES = 8  # at once, where that are several frames
_ALONE = 3  # frames that are also looked at one by one


@dataclass(frozen=True, kw_only=True)
class GraphProof:
    """What a comparison found.

    Args:
        scores: the worst of all pairs of scores.
        maps: the worst of all pairs of cells of maps.
        wanted: scores of n frames by torch, float64 (n,).
        found: by ONNX Runtime, float32 (n,).
        grid: rows and columns of a map.
        batches: how many frames were looked at together.
        runtime: version of ONNX Runtime.
    """

    scores: Agreement
    maps: Agreement
    wanted: np.ndarray
    found: np.ndarray
    grid: tuple[int, int]
    batches: tuple[int, ...]
    runtime: str

    @property
    def problem(self) -> Agreement | None:
        """What lies further apart than is allowed; None if nothing does."""
        return next((one for one in (self.scores, self.maps) if not one.is_close), None)


def has_runtime() -> bool:
    """Return whether ONNX Runtime is installed."""
    return find_spec("onnxruntime") is not None


def prove_graph(content: bytes, detector: StandaloneDetector, frames: Frames, names: list[str]) -> GraphProof:
    """Score frames by a graph and by the detector, and compare.

    Most frames are looked at in batches of several, and the first few also one by one.

    Args:
        content: of the file.
        detector: on the CPU, which computes in float32 as the graph does.
        frames: n of them, at least one.
        names: of these.

    Raises:
        EnvironmentMissingError: ONNX Runtime is not installed, or cannot run the graph.
    """
    import onnxruntime

    scoring = detector.card.scoring
    several = max(2, _TILES // len(detector.geometry.corners))
    session = _open(content)
    scores, maps = _run(session, frames, several)
    alone, alone_maps = _run(session, frames.choose(slice(0, _ALONE)), 1)
    wanted = detector.score_frames(frames)
    score, heat = wanted.image[scoring.scorer], wanted.maps[scoring.map_scorer]
    some = slice(0, len(alone))
    minuends = list_minuends(detector, wanted.image)
    by_score = [
        compare({scoring.scorer: score}, {scoring.scorer: values}, names, True, minuends)
        for values in (scores, np.append(alone, score[some.stop :]))  # the spread of all is the measure of both
    ]
    by_map = [
        _compare_maps(heat, maps, frames, names, scoring.map_scorer),
        _compare_maps(heat[some], alone_maps, frames.choose(some), names, scoring.map_scorer),
    ]
    worst_score, worst_cell = (max(each, key=lambda one: one.difference) for each in (by_score, by_map))
    return GraphProof(
        scores=replace(worst_score, allowed=ALLOWED),
        maps=replace(worst_cell, images=len(frames)),
        wanted=score,
        found=scores,
        grid=(maps.shape[1], maps.shape[2]),
        batches=(1, min(several, len(frames))),
        runtime=onnxruntime.__version__,
    )


def check_graph(folder: Path, weights: Path | None) -> GraphProof:
    """Compare a folder's graph with its detector on the frames of the self-test.

    Args:
        folder: of a detector, with a graph in it.
        weights: a file with the backbone's; None where the folder or a keyword tells where they are.

    Raises:
        UsageError: a file is missing or was changed, or the weights are others.
        EnvironmentMissingError: the weights are not to be had, or ONNX Runtime cannot run the graph.
    """
    with StandaloneDetector(folder, weights=weights, device="cpu") as detector:
        frames = read_frames(detector)
        content = read_file(folder, GRAPH, detector.card)
        return prove_graph(content, detector, frames, name_frames(frames))


def _compare_maps(
    wanted: np.ndarray, found: np.ndarray, frames: Frames, names: list[str], scorer: str
) -> Agreement:
    """Return the worst pair of cells of maps, float32 (n, h, w), padding left out."""
    is_content = mark_content(frames, (wanted.shape[1], wanted.shape[2]))
    cells = [each[is_content].astype(np.float64) for each in (wanted, found)]
    difference = measure_difference(*cells)
    difference = np.where(np.isnan(difference), np.inf, difference)
    worst = int(difference.argmax())
    index, row, column = (int(place[worst]) for place in np.nonzero(is_content))
    return Agreement(
        images=len(frames),
        scorer=scorer,
        name=f"cell ({row}, {column}) of the map of {names[index]}",
        wanted=float(cells[0][worst]),
        found=float(cells[1][worst]),
        difference=float(difference[worst]),
        allowed=ALLOWED_IN_MAPS,
        is_same_device=True,
    )


def _open(content: bytes) -> "InferenceSession":
    try:
        import onnxruntime
    except ImportError as error:
        raise EnvironmentMissingError(
            f"ONNX Runtime cannot be imported here ({error})", "pip install onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    options.intra_op_num_threads = torch.get_num_threads()
    with _explained():
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(session: "InferenceSession", frames: Frames, several: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scores, float32 (n,), and maps, float32 (n, gh, gw), of frames in batches of several."""
    needs_content = len(session.get_inputs()) > 1
    parts = []
    for start in range(0, len(frames), several):
        numbers = range(start, min(start + several, len(frames)))
        inputs = {"images": np.stack([frames.read(index) for index in numbers])}
        if needs_content:
            inputs["content_px"] = frames.content_px[start : start + several].astype(np.int64)
        with _explained():
            parts.append(session.run(["score", "map"], inputs))
    return np.concatenate([score for score, _ in parts]), np.concatenate([heat[:, 0] for _, heat in parts])


@contextmanager
def _explained() -> Iterator[None]:
    """Say what ONNX Runtime cannot do with a graph, for the length of a `with`."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as raised

    problems = (
        *(raised.Fail, raised.InvalidArgument, raised.InvalidGraph, raised.InvalidProtobuf),
        *(raised.NotImplemented, raised.RuntimeException),
    )
    try:
        yield
    except problems as error:
        reason = " ".join(str(error).split())[:300]
        raise EnvironmentMissingError(
            f"ONNX Runtime {onnxruntime.__version__} cannot run the graph: {reason}",
            "use the version that detector.json names, or export without --onnx",
        ) from error
