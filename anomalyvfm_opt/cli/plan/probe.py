"""A short measured probe: real trials of a study, cut short, with a stopwatch on their parts."""

import statistics
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from anomalyvfm_opt.cli.workbench import Workbench, check_tiles, load_backbone
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import load_images
from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import choose_geometry
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.errors import DivergedError, DoesNotFitError, EnvironmentMissingError
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.synthesis.mixture import KINDS, Mixture
from anomalyvfm_opt.synthesis.pools import PoolStore
from anomalyvfm_opt.trial.cost import PartCosts
from anomalyvfm_opt.trial.result import TrialRequest

_STEPS = 5  # of which the first warms up
_COUNT = 12  # synthetic anomalies that the probe trains on: enough to fill its batches
_DATABASE_S = 0.3  # a trial's rows: ask, reports, scores, tell (docs/decisions/0002)
_SEED = 1


class _ProbeDoneError(Exception):
    """Raised out of a trial that has shown what it was asked to show."""


@dataclass
class _Stopwatch:
    """Stands where the trial loop would: notes when steps begin and when an epoch's scores are there."""

    most_steps: int | None = None
    begun: list[float] = field(default_factory=list)
    scored: float = 0.0

    def check(self) -> None:
        self.begun.append(time.perf_counter())
        if self.most_steps is not None and len(self.begun) > self.most_steps:
            raise _ProbeDoneError

    def report(self, epoch: int, value: float) -> None:
        self.scored = time.perf_counter()

    @property
    def step_s(self) -> float:
        """The median step after the first."""
        return statistics.median(b - a for a, b in zip(self.begun[1:], self.begun[2:], strict=False))


@dataclass(frozen=True)
class Probe:
    """What was measured on one category.

    Args:
        costs: of a trial's parts.
        decode_s: seconds to decode one image.
        pool_s: seconds to make one synthetic anomaly.
    """

    costs: PartCosts
    decode_s: float
    pool_s: float


def measure(spec: Spec, split: Split, device: torch.device, weights: Path | None = None) -> Probe:
    """Time a frozen trial, a short trial in full, and a few steps of every other choice.

    Arrays are kept in a temporary folder, which is removed.

    Args:
        spec: whose choices are measured.
        split: all images of the category.
        device: to measure on.
        weights: a file with the backbone's weights; None for what the spec says.

    Raises:
        AnomalyVFMOptError: what creating the study and running it would raise.
    """
    backbone = load_backbone(spec, device, weights)
    geometry = choose_geometry(spec.data, split.fit)
    check_tiles(backbone, geometry)
    with tempfile.TemporaryDirectory(prefix="anomalyvfm-opt-plan-") as folder:
        arrays = ArrayStore(Path(folder), advice="point TMPDIR at a disk with room for the decoded images")
        started = time.perf_counter()
        frames = load_images(arrays, split.fit, geometry)
        decode_s = (time.perf_counter() - started) / len(split.fit)
        pool_s = _time_pools(arrays, frames)
        bench = Workbench(_shorten(spec), split, "probe", backbone, arrays)
        try:
            return Probe(_measure_parts(bench, spec), decode_s, pool_s)
        except (DoesNotFitError, DivergedError) as error:
            raise EnvironmentMissingError(
                f"this study cannot be run on {device}: {error.message}",
                "make batch_size, image_size_px or tiles.size_px smaller, or take that choice out of the space",
            ) from None


def _shorten(spec: Spec) -> Spec:
    """The spec of the probe: few steps and few synthetic anomalies, all else as it is."""
    count = spec.search.space.synthesis_count.model_copy(update={"low": _COUNT, "high": _COUNT})
    space = spec.search.space.model_copy(update={"synthesis_count": count})
    return spec.model_copy(
        update={
            "training": spec.training.model_copy(update={"steps_per_epoch": _STEPS}),
            "search": spec.search.model_copy(update={"space": space}),
        }
    )


def _time_pools(arrays: ArrayStore, frames: Frames) -> float:
    """Seconds that one synthetic anomaly takes, on average over the kinds."""
    pools = PoolStore(arrays, frames, "timing", _COUNT)
    share = 1 / len(KINDS)
    started = time.perf_counter()
    pools.draw(Mixture(share, share, share, _COUNT, 1.0), _SEED)  # fills a pool of each kind
    return (time.perf_counter() - started) / (len(KINDS) * _COUNT)


def _measure_parts(bench: Workbench, spec: Spec) -> PartCosts:
    space = spec.search.space
    base = replace(_base_parameters(), dropout=max(space.dropout))  # what the dearest costs
    _measure_step(bench, base)  # fills the pools and warms up
    started = time.perf_counter()
    bench.run(TrialRequest(0, None, _SEED), _Stopwatch())
    frozen_s = time.perf_counter() - started
    watch = _Stopwatch()
    started = time.perf_counter()
    bench.run(TrialRequest(0, base, _SEED), watch)
    total_s = time.perf_counter() - started
    scoring_s = watch.scored - watch.begun[-1] - watch.step_s

    def compare(name: str, choices: tuple[Any, ...]) -> dict[Any, float]:
        return {choice: _measure_step(bench, replace(base, **{name: choice})) / watch.step_s for choice in choices}

    return PartCosts(
        step=watch.step_s,
        adapters={base.adapter: 1.0, **compare("adapter", space.adapter)},
        targets={base.targets: 1.0, **compare("targets", space.targets)},
        blocks={base.adapted_blocks: 1.0, **compare("adapted_blocks", space.adapted_blocks)},
        scoring=scoring_s,
        frozen=frozen_s + _DATABASE_S,
        fixed=max(0.0, total_s - _STEPS * watch.step_s - scoring_s) + _DATABASE_S,
    )


def _base_parameters() -> Parameters:
    base = reference_parameters("v1.1", "")
    if base is None:
        raise ValueError("the reference v1.1 has no parameters")
    return replace(base, epochs=1, synthesis_count=_COUNT)


def _measure_step(bench: Workbench, parameters: Parameters) -> float:
    """Seconds of a step."""
    watch = _Stopwatch(most_steps=_STEPS)
    unscored = TrialRequest(0, replace(parameters, epochs=2), _SEED, is_watched=False)
    try:
        bench.run(unscored, watch)  # ends with the first step of its second epoch, before anything is scored
    except _ProbeDoneError:
        return watch.step_s
    except (DoesNotFitError, DivergedError) as error:
        choice = f"{parameters.adapter} on {parameters.targets}, adapted blocks {parameters.adapted_blocks}"
        raise type(error)(f"{choice}: {error.message}") from None
    raise AssertionError("a probe of steps came to its end")
