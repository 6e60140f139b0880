"""`selftest.npz`: a few frames with the scores and maps that the detector gave for them when it was exported."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.evaluation.scorer_bank import Scores
from anomalyvfm_opt.evaluation.scorers import ENSEMBLE
from anomalyvfm_opt.inference.folder import AGAIN, SELFTEST, read_file
from anomalyvfm_opt.inference.standalone import StandaloneDetector
from anomalyvfm_opt.model.device import name_device

SAME_DEVICE, OTHER_DEVICE = 1e-5, 1e-3  # largest relative difference that is allowed
_SCORE, _MAP = "score.", "map"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far scores lie from those that they should be.

    Args:
        images: that were compared.
        scorer: whose scores differ the most.
        name: of the image where they do.
        wanted, found: its two scores.
        difference: relative, see `measure_difference`.
        allowed: on this device.
        is_same_device: whether this is the kind of device that the scores are from, with as many threads.
    """

    images: int
    scorer: str
    name: str
    wanted: float
    found: float
    difference: float
    allowed: float
    is_same_device: bool

    @property
    def is_close(self) -> bool:
        """Whether the difference is allowed."""
        return self.difference <= self.allowed

    def describe(self) -> str:
        """Return the worst pair in words."""
        return (
            f"{self.name} has {self.found:.9g} by {self.scorer}, and should have {self.wanted:.9g}: a relative"
            f" difference of {self.difference:.2g}, and {self.allowed:g} is allowed"
        )


def measure_difference(wanted: np.ndarray, found: np.ndarray, minuends: np.ndarray | None = None) -> np.ndarray:
    """Return the relative differences of n scores, float64 (n,).

    A difference is divided by the score's size, or by the standard deviation of all wanted scores where that is
    larger: logits and z-scores cross zero, where a ratio says nothing.

    Args:
        wanted: float (n,).
        found: likewise.
        minuends: of scores that are differences themselves the size of what they are taken of, float (n,), which
            a difference is divided by where it is larger still.
    """
    size = np.maximum(np.abs(wanted), np.std(wanted))
    if minuends is not None:
        size = np.maximum(size, minuends)
    difference: np.ndarray = np.abs(found - wanted) / np.maximum(size, 1e-12)
    return difference


def list_minuends(detector: StandaloneDetector, image: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the size of what scores are differences of, for the scorers whose scores are: float64 (n,)."""
    return {ENSEMBLE: detector.bank.measure_minuends(image)}


def compare(
    wanted: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    names: list[str],
    is_same_device: bool,
    minuends: Mapping[str, np.ndarray],
) -> Agreement:
    """Return the worst of all pairs of numbers.

    Args:
        wanted: scorer -> float (n,), at least one.
        found: likewise; of at least the same scorers.
        names: of the n numbers.
        is_same_device: whether both were computed on one kind of device.
        minuends: by scorer, see `measure_difference`; of scores from `list_minuends`.
    """
    worst: list[tuple[float, str, int]] = []
    for scorer, values in wanted.items():
        differences = measure_difference(
            values.astype(np.float64), found[scorer].astype(np.float64), minuends.get(scorer)
        )
        differences = np.where(np.isnan(differences), np.inf, differences)
        index = int(differences.argmax())
        worst.append((float(differences[index]), scorer, index))
    difference, scorer, index = max(worst)
    return Agreement(
        images=len(names),
        scorer=scorer,
        name=names[index],
        wanted=float(wanted[scorer][index]),
        found=float(found[scorer][index]),
        difference=difference,
        allowed=SAME_DEVICE if is_same_device else OTHER_DEVICE,
        is_same_device=is_same_device,
    )


def pack_selftest(frames: Frames, scores: Scores, map_scorer: str) -> bytes:
    """Pack a few frames with their scores and the maps of one scorer."""
    arrays = {
        "pixels": np.stack([frames.read(index) for index in range(len(frames))]),
        "content_px": frames.content_px,
        _MAP: scores.maps[map_scorer],
        **{f"{_SCORE}{name}": values for name, values in scores.image.items()},
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def check_detector(detector: StandaloneDetector) -> Agreement:
    """Score the frames of a self-test again, and return how far scores and maps lie from what they were.

    Raises:
        UsageError: the self-test is damaged.
    """
    card = detector.card
    arrays = _unpack(detector)
    frames = Frames(arrays["pixels"], arrays["content_px"], detector.geometry)
    scores = detector.score_frames(frames)
    wanted = {name.removeprefix(_SCORE): values for name, values in arrays.items() if name.startswith(_SCORE)}
    found, maps = dict(scores.image), scores.maps[card.scoring.map_scorer]
    if wanted.keys() != found.keys() or maps.shape != arrays[_MAP].shape:
        raise UsageError(f"{detector.folder / SELFTEST} is of another detector", AGAIN)
    is_same = name_device(detector.device) == card.device and torch.get_num_threads() == card.threads
    names = name_frames(frames)
    by_score = compare(wanted, found, names, is_same, list_minuends(detector, found))
    cells = [np.asarray(side, np.float64).reshape(-1) for side in (arrays[_MAP], maps)]
    at = [f"cell {cell} of the self-test's maps" for cell in range(len(cells[0]))]
    map_name = f"the map of {card.scoring.map_scorer}"
    by_map = compare({map_name: cells[0]}, {map_name: cells[1]}, at, is_same, {})
    worst = max((by_score, by_map), key=lambda one: one.difference)
    return replace(worst, images=len(frames))


def read_frames(detector: StandaloneDetector) -> Frames:
    """Read the frames of a self-test.

    Raises:
        UsageError: the self-test is damaged.
    """
    arrays = _unpack(detector)
    return Frames(arrays["pixels"], arrays["content_px"], detector.geometry)


def name_frames(frames: Frames) -> list[str]:
    """Return names for the frames of a self-test, for messages."""
    return [f"self-test image {index}" for index in range(len(frames))]


def _unpack(detector: StandaloneDetector) -> dict[str, np.ndarray]:
    origin, geometry = detector.folder / SELFTEST, detector.geometry
    try:
        with np.load(io.BytesIO(read_file(detector.folder, SELFTEST, detector.card)), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{origin} is damaged: {error}", AGAIN) from None
    count = len(arrays.get("pixels", ()))
    shapes = {"pixels": (count, *geometry.frame_px, 3), "content_px": (count, 2)}
    is_whole = _MAP in arrays and all(name in arrays and arrays[name].shape == s for name, s in shapes.items())
    if not count or not is_whole or arrays["pixels"].dtype != np.uint8:
        raise UsageError(f"{origin} does not hold frames of this detector", AGAIN)
    return arrays
