"""Submissions that are made by real detectors, of few and small images."""

from collections.abc import Callable
from pathlib import Path

from anomalyvfm_opt.inference.submission.images import find_private_images
from anomalyvfm_opt.inference.submission.making import Tools, Written, begun_submission, make_submission
from tests.unit.inference.submissions import FEW

TOOLS = Tools(weights=None, device="cpu", batch=4, false_positives=None)
SIZE_PX = (40, 56)


def make(
    data: Path,
    root: Path,
    detectors: dict[str, Path],
    tools: Tools = TOOLS,
    said: list[str] | None = None,
    meanwhile: Callable[[Path], object] = str,
) -> dict[str, Written]:
    with begun_submission(root) as part:
        images = find_private_images(data, FEW)
        meanwhile(data)
        return make_submission(part, root, images, detectors, tools, [].append if said is None else said.append)


def list_left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir() if "mine" in path.name)
