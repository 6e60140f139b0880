"""Checks of what training left: a loss that never fell, a covariance that cannot be inverted."""

import numpy as np

from anomalyvfm_opt.evaluation.linter.findings import Finding, Severity
from anomalyvfm_opt.evaluation.scorers import Gaussian
from anomalyvfm_opt.training.finetune import Losses

_LEAST_FALL = 0.05  # of the first quarter; by batches alone 12 untrained trials of 8-12 steps moved by up to 0.037
_LEAST_STEPS = 8
_NO_SHRINKAGE = 1e-9


def check_loss(losses: Losses) -> list[Finding]:
    """`flat_loss`: the mean loss of the last quarter of the optimiser steps is not below that of the first."""
    by_step = np.array(losses.by_step)
    quarter = len(by_step) // 4
    if len(by_step) < _LEAST_STEPS:
        return []
    first, last = float(by_step[:quarter].mean()), float(by_step[-quarter:].mean())
    if last < (1 - _LEAST_FALL) * first:
        return []
    message = (
        f"the loss went from {first:.4f} in the first {quarter} optimiser steps to {last:.4f} in the last"
        f" {quarter}; a fall of at least {_LEAST_FALL:.0%} is expected: search larger learning rates or more steps"
    )
    return [Finding("flat_loss", Severity.DOUBTFUL, message)]


def check_covariance(gaussian: Gaussian) -> list[Finding]:
    """`singular_covariance`: fitted on no more images than dimensions, without shrinkage."""
    n, d = gaussian.images, len(gaussian.center)
    if n > d or gaussian.shrinkage > _NO_SHRINKAGE:
        return []
    message = (
        f"the covariance of mahalanobis was fitted on {n} images of {d} dimensions with shrinkage"
        f" {gaussian.shrinkage:.3g}, so it has no inverse: shrink it, or fit it on more than {d} images"
    )
    return [Finding("singular_covariance", Severity.BROKEN, message)]
