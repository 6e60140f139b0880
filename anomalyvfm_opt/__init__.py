"""Hyperparameter optimisation service for LoRA anomaly detectors on vision foundation models."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anomalyvfm_opt.inference.standalone import StandaloneDetector

__version__ = "0.1.0"

# One more with each change after which a trial of the same inputs gives other numbers: a study keeps to the method
# that it was created by, and a program of another one does not work on it.
METHOD = 1

__all__ = ["METHOD", "__version__", "load_detector"]


def load_detector(
    folder: Path | str,
    *,
    weights: Path | str | None = None,
    device: str = "auto",
    batch: int = 32,
    false_positives: float | None = None,
) -> "StandaloneDetector":
    """Load the detector of a folder that `anomalyvfm-opt model export` made; no database is needed.

    torch is imported here and not before, so that the package itself costs nothing.

    Args:
        folder: of the detector.
        weights: a safetensors file with the backbone's weights; None for those in the folder, or where the study
            had them from.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch: images that are looked at together, at least 1; fewer where they do not fit.
        false_positives: the share that thresholds promise, 0-1; None for that of the folder.

    Raises:
        UsageError: a file is missing or was changed, or the weights are others.
        EnvironmentMissingError: weights or device are not to be had.
    """
    from anomalyvfm_opt.inference.standalone import StandaloneDetector

    file = None if weights is None else Path(weights)
    return StandaloneDetector(
        Path(folder), weights=file, device=device, batch=batch, false_positives=false_positives
    )
