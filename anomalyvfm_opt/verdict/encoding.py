"""Parameters as coordinates, so that it can be said how near two sets are to each other."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from anomalyvfm_opt.spec.parameters import Parameters

_LEAST_RANGE = 1e-6  # less is rounding: shares that went through the sampler are off by a last digit


def round_parameters(parameters: Parameters) -> Parameters:
    """The same for all that differ by rounding alone, as a reference does from itself suggested by a sampler."""
    rounded: dict[str, Any] = {
        name: float(f"{value:.9g}") for name, value in asdict(parameters).items() if isinstance(value, float)
    }
    return replace(parameters, **rounded)


class Encoding:
    """Parameters as coordinates of 0-1 over the trials, a column or several for each parameter that varies.

    What acts by factors is on a log scale. Two choices of adapter or targets are as far from each other as the
    ends of a range. A parameter that all trials share has no coordinate: they cannot tell what it does.

    Args:
        known: the parameters of the trials.
    """

    def __init__(self, known: Sequence[Parameters]) -> None:
        numbered = [p.adapted_blocks for p in known if isinstance(p.adapted_blocks, int)]
        self._all_blocks = 2 * max(numbered, default=1)
        self._choices = {name: sorted({getattr(p, name) for p in known}) for name in ("adapter", "targets")}
        rows = [self._measure(p) for p in known]
        self._ranges: dict[str, tuple[float, float]] = {}
        for name in rows[0]:
            values = [row[name] for row in rows]
            if max(values) - min(values) > _LEAST_RANGE:
                self._ranges[name] = min(values), max(values)
        self.columns = [name for name, choices in self._choices.items() if len(choices) > 1 for _ in choices]
        self.columns += self._ranges
        """The parameter that each column is of."""

    def encode(self, sets: Sequence[Parameters]) -> np.ndarray:
        """Coordinates of k sets: float64 (k, columns)."""
        return np.array([self._encode(p) for p in sets]).reshape(len(sets), len(self.columns))

    def _encode(self, parameters: Parameters) -> list[float]:
        row = [
            math.sqrt(0.5) * (getattr(parameters, name) == choice)
            for name, choices in self._choices.items()
            if len(choices) > 1
            for choice in choices
        ]
        measured = self._measure(parameters)
        return row + [(measured[name] - low) / (high - low) for name, (low, high) in self._ranges.items()]

    def _measure(self, p: Parameters) -> dict[str, float]:
        blocks = p.adapted_blocks if isinstance(p.adapted_blocks, int) else self._all_blocks
        return {
            "rank": math.log2(p.rank),
            "alpha_ratio": math.log(p.alpha_ratio),
            "adapted_blocks": math.log2(blocks),
            "dropout": p.dropout,
            "epochs": math.log(p.epochs),
            "learning_rate": math.log(p.learning_rate),
            "texture": p.texture,
            "structural": p.structural,
            "synthesis_count": math.log(p.synthesis_count),
            "synthesis_intensity": p.synthesis_intensity,
            "image_size_px": math.log(p.image_size_px),
        }
