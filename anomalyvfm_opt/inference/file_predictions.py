"""Predictions of files: what cannot be read is named and passed over; memory does not grow with their number."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.inference.listing import Listed
from anomalyvfm_opt.inference.prediction import Prediction
from anomalyvfm_opt.inference.sources import Framed, frame_source
from anomalyvfm_opt.inference.standalone import StandaloneDetector

_MOST_THREADS = 8  # that decode; Pillow does it without the interpreter's lock


@dataclass(frozen=True)
class Answered:
    """A file, with what the detector says of it, or with what is wrong with it."""

    listed: Listed
    prediction: Prediction | None
    problem: str = ""


def predict_files(detector: StandaloneDetector, files: Iterable[Listed]) -> Iterator[Answered]:
    """Say of each file how anomalous it is, in their order."""
    numbered = enumerate(files)
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        while chunk := list(islice(numbered, detector.batch_size)):
            framed = list(pool.map(lambda one: _frame(detector, *one), chunk))
            predictions = iter(detector.predict_framed([one for one in framed if isinstance(one, Framed)]))
            for (_, listed), one in zip(chunk, framed, strict=True):
                if isinstance(one, Framed):
                    yield Answered(listed, next(predictions))
                else:
                    yield Answered(listed, None, one)


def _frame(detector: StandaloneDetector, number: int, listed: Listed) -> Framed | str:
    """Return a file in its frame, or what is wrong with it."""
    try:
        return frame_source(listed.path, number, detector.geometry)
    except UsageError as error:
        return str(error)
