"""Parameters as coordinates, so that it can be said how near two sets are to each other."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from anomalyvfm_opt.spec.axes import IMPLIED, ONE_HOT
from anomalyvfm_opt.spec.parameters import AXES, Parameters

_LEAST_RANGE = 1e-6  # less is rounding: shares that went through the sampler are off by a last digit


def round_parameters(parameters: Parameters) -> Parameters:
    """Return one value for all that differ by rounding alone, as a reference suggested by a sampler does."""
    rounded: dict[str, Any] = {
        name: float(f"{value:.9g}") for name, value in asdict(parameters).items() if isinstance(value, float)
    }
    return replace(parameters, **rounded)


class Encoding:
    """Parameters as coordinates of 0-1 over the trials, a column or several for each parameter that varies.

    Two choices without an order are as far from each other as the ends of a range; all else is measured on the
    scale that the table of axes gives it. A parameter that all trials share has no coordinate: they cannot tell
    what it does. A trial without an adapter lies in the middle of what says nothing of it, such as ranks.

    Args:
        known: the parameters of the trials, at least one.
    """

    def __init__(self, known: Sequence[Parameters]) -> None:
        self._choices: dict[str, list[Any]] = {}
        self._places: dict[str, Callable[[Any], float]] = {}
        self._ranges: dict[str, tuple[float, float]] = {}
        for axis in AXES:
            values = [getattr(p, axis.name) for p in known if p.says(axis.name)]
            if axis.coordinate == ONE_HOT:
                self._add_choices(axis.name, values)
            elif axis.coordinate != IMPLIED:
                self._add_scale(axis.name, axis.coordinate(values), values)
        self.columns = [name for name, choices in self._choices.items() for _ in choices]
        self.columns += self._ranges
        """The parameter that each column is of."""

    def encode(self, sets: Sequence[Parameters]) -> np.ndarray:
        """Return the coordinates of k sets: float64 (k, columns)."""
        return np.array([self._encode(p) for p in sets]).reshape(len(sets), len(self.columns))

    def _add_choices(self, name: str, values: Sequence[Any]) -> None:
        choices = sorted(set(values))
        if len(choices) > 1:
            self._choices[name] = choices

    def _add_scale(self, name: str, place: Callable[[Any], float], values: Sequence[Any]) -> None:
        places = [place(value) for value in values]
        if places and max(places) - min(places) > _LEAST_RANGE:
            self._places[name] = place
            self._ranges[name] = min(places), max(places)

    def _encode(self, parameters: Parameters) -> list[float]:
        says = parameters.says
        chosen = [
            math.sqrt(0.5) * (getattr(parameters, name) == choice if says(name) else 1 / len(choices))
            for name, choices in self._choices.items()
            for choice in choices
        ]
        measured = [
            (self._places[name](getattr(parameters, name)) - low) / (high - low) if says(name) else 0.5
            for name, (low, high) in self._ranges.items()
        ]
        return chosen + measured
