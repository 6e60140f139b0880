"""A short measured probe: real trials of a study, cut short, with a stopwatch on their parts."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from anomalyvfm_opt.bench.backbones import Backbones
from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench, check_tiles
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import load_images
from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import choose_geometry
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.errors import DivergedError, DoesNotFitError, EnvironmentMissingError
from anomalyvfm_opt.plan.choices import choose_base, list_adapters, list_choices
from anomalyvfm_opt.plan.outputs import OutputCosts, measure_outputs
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.space import NO_ADAPTER
from anomalyvfm_opt.synthesis.mixture import KINDS, Mixture
from anomalyvfm_opt.synthesis.pools import PoolStore
from anomalyvfm_opt.trial.cost import PartCosts, SizeFactors
from anomalyvfm_opt.trial.result import TrialRequest

_STEPS = 5  # of which the first warms up
_COUNT = 12  # synthetic anomalies that the probe trains on: enough to fill its batches
_DATABASE_S = 0.3  # a trial's rows: ask, reports, scores, tell (docs/decisions/0002)
_SEED = 1
_LEAST_SCORING = 0.05  # of a scoring: heads, scorers and metrics are left whatever was computed before


class _ProbeDoneError(Exception):
    """Raised out of a trial that has shown what it was asked to show."""


@dataclass
class _Stopwatch:
    """Stands where the trial loop would: notes when steps begin and when an epoch's scores are there."""

    most_steps: int | None = None
    begun: list[float] = field(default_factory=list)
    scored: float = 0.0

    def check(self) -> None:
        """Nobody stops a probe."""

    def begin_step(self) -> None:
        self.begun.append(time.perf_counter())
        if self.most_steps is not None and len(self.begun) > self.most_steps:
            raise _ProbeDoneError

    def resume(self, epoch: int) -> None:
        """No probe is taken up again."""

    def finish_epoch(self, epoch: int, loss: float) -> None:
        """Nobody watches a probe."""

    def report(self, epoch: int, value: float) -> None:
        self.scored = time.perf_counter()

    @property
    def step_s(self) -> float:
        """The median step after the first: what is to be expected on this host as it is."""
        return statistics.median(self._list_steps())

    @property
    def least_step_s(self) -> float:
        """The quickest step after the first: what others do on the host meanwhile is in it the least."""
        return min(self._list_steps())

    def _list_steps(self) -> list[float]:
        return [b - a for a, b in zip(self.begun[1:], self.begun[2:], strict=False)]


@dataclass(frozen=True)
class Probe:
    """What was measured on one category.

    Args:
        costs: of a trial's parts.
        making: of what the trials share, by image size, the study's own first.
        outputs: of frozen blocks, by image size.
    """

    costs: PartCosts
    making: Mapping[int, "Making"]
    outputs: Mapping[int, OutputCosts]


@dataclass(frozen=True)
class Making:
    """Seconds to decode one image, and to make one synthetic anomaly."""

    decode_s: float
    anomaly_s: float


@dataclass(frozen=True)
class _TrialTimes:
    """Seconds of a trial of one epoch: an optimiser step, the epoch's end, and all that is done once.

    Args:
        step: the median one.
        least_step: the quickest one, which others are compared with.
        scoring: the epoch's end.
        fixed: the rest.
    """

    step: float
    least_step: float
    scoring: float
    fixed: float


def measure(
    spec: Spec, split: Split, device: torch.device, weights: Path | None, say: Callable[[str], None]
) -> Probe:
    """Time a frozen trial, a short trial in full, and a few steps of every other choice.

    At each further image size it is the short trial alone: there the other choices are taken to cost as much more
    or less than plain LoRA as they do at the study's own size.

    Arrays are kept in a temporary folder, which is removed.

    Args:
        spec: whose choices are measured.
        split: all images of the category.
        device: to measure on.
        weights: a file with the backbone's weights; None for what the spec says.
        say: takes a line before each part that takes its time.

    Raises:
        AnomalyVFMOptError: what creating the study and running it would raise.
    """
    backbones = Backbones(device, weights)
    making: dict[int, Making] = {}
    outputs: dict[int, OutputCosts] = {}
    benches: dict[int, Workbench] = {}
    with tempfile.TemporaryDirectory(prefix="anomalyvfm-opt-plan-") as folder:
        arrays = ArrayStore(Path(folder), advice="point TMPDIR at a disk with room for the decoded images")
        try:
            for size in spec.image_sizes_px:
                say(f"  at {size} px: decoding, synthetic anomalies, frozen blocks ...")
                sized = spec.at_size(size)
                making[size] = _time_making(sized, split, backbones, arrays)
                outputs[size] = measure_outputs(
                    backbones.open(sized), list_choices(spec, choose_base(spec, _COUNT))
                )
                benches[size] = Workbench(_shorten(sized), split, "probe", backbones.open(sized), arrays)
            own, *others = benches
            say(f"  at {own} px: a frozen trial, a trained one, and steps of each adapter, targets and blocks ...")
            costs, times = _measure_parts(benches[own], spec, outputs[own])
            factors = {}
            for size in others:
                say(f"  at {size} px: a trained trial ...")
                factors[size] = _measure_size(benches[size], choose_base(spec.at_size(size), _COUNT), times)
        except (DoesNotFitError, DivergedError) as error:
            raise EnvironmentMissingError(
                f"this study cannot be run on {device}: {error.message}",
                "make batch_size, image_size_px or tiles.size_px smaller, or take that choice out of the space",
            ) from None
    return Probe(replace(costs, sizes={**costs.sizes, **factors}), making, outputs)


def _time_making(spec: Spec, split: Split, backbones: Backbones, arrays: ArrayStore) -> Making:
    geometry = choose_geometry(spec.data, split.fit)
    check_tiles(backbones.open(spec), geometry)
    started = time.perf_counter()
    frames = load_images(arrays, split.fit, geometry)
    decode_s = (time.perf_counter() - started) / len(split.fit)
    return Making(decode_s, _time_pools(arrays, frames))


def _shorten(spec: Spec) -> Spec:
    """Return the spec of the probe: few steps and few synthetic anomalies, all else as it is."""
    count = spec.search.space.synthesis_count.model_copy(update={"low": _COUNT, "high": _COUNT})
    space = spec.search.space.model_copy(update={"synthesis_count": count})
    return spec.model_copy(
        update={
            "training": spec.training.model_copy(update={"steps_per_epoch": _STEPS}),
            "search": spec.search.model_copy(update={"space": space}),
        }
    )


def _time_pools(arrays: ArrayStore, frames: Frames) -> float:
    """Return the seconds that one synthetic anomaly takes, on average over the kinds."""
    pools = PoolStore(arrays, frames, "timing", _COUNT)
    share = 1 / len(KINDS)
    started = time.perf_counter()
    pools.draw(
        Mixture(texture=share, structural=share, contextual=share, count=_COUNT, intensity=1.0), _SEED
    )  # fills a pool of each kind
    return (time.perf_counter() - started) / (len(KINDS) * _COUNT)


def _measure_parts(bench: Workbench, spec: Spec, outputs: OutputCosts) -> tuple[PartCosts, _TrialTimes]:
    space, base = spec.search.space, choose_base(spec, _COUNT)
    _measure_step(bench, base)  # fills the pools and warms up
    started = time.perf_counter()
    run_trial(bench, TrialRequest(number=0, parameters=None, seed=_SEED), _Stopwatch())
    frozen_s = time.perf_counter() - started
    times = _measure_trial(bench, base)

    def compare(name: str, choices: tuple[Any, ...]) -> dict[Any, float]:
        return {
            choice: _measure_step(bench, replace(base, **{name: choice})) / times.least_step for choice in choices
        }

    costs = PartCosts(
        step=times.step,
        adapters={base.adapter: 1.0, **compare("adapter", list_adapters(spec))},
        targets={base.targets: 1.0, **compare("targets", space.targets)},
        blocks={base.adapted_blocks: 1.0, **compare("adapted_blocks", space.adapted_blocks)},
        scored_blocks={
            choice: _reckon_scoring(bench, outputs.seconds[base.targets, choice], times.scoring)
            for choice in (base.adapted_blocks, *space.adapted_blocks)
        }
        | {NO_ADAPTER: _reckon_scoring(bench, outputs.frozen_seconds, times.scoring)},
        scoring=times.scoring,
        frozen=frozen_s + _DATABASE_S,
        fixed=times.fixed + _DATABASE_S,
        sizes={spec.data.image_size_px: SizeFactors()},
    )
    return costs, times


def _measure_trial(bench: Workbench, parameters: Parameters) -> _TrialTimes:
    """Measure the seconds of a trial of one epoch; its first step warms up."""
    watch = _Stopwatch()
    started = time.perf_counter()
    run_trial(bench, TrialRequest(number=0, parameters=parameters, seed=_SEED), watch)
    total_s = time.perf_counter() - started
    scoring_s = watch.scored - watch.begun[-1] - watch.step_s
    fixed_s = max(0.0, total_s - _STEPS * watch.step_s - scoring_s)
    return _TrialTimes(step=watch.step_s, least_step=watch.least_step_s, scoring=scoring_s, fixed=fixed_s)


def _reckon_scoring(bench: Workbench, prefix_s: float, scoring_s: float) -> float:
    """Return what part of a scoring is left where some blocks of each image were computed before.

    Args:
        bench: whose images are scored.
        prefix_s: that these blocks take, seconds an image.
        scoring_s: that a scoring takes where all blocks run.
    """
    exam = bench.exams.deciding
    tiles = sum(len(frames.tiles) for frames in (bench.fit, exam.calibration, exam.images))
    return max(_LEAST_SCORING, 1 - tiles * prefix_s / scoring_s)


def _measure_size(bench: Workbench, parameters: Parameters, own: _TrialTimes) -> SizeFactors:
    """Measure what a trial costs at the image size of a bench, in parts of what it does at the study's own."""
    _measure_step(bench, parameters)  # fills the pools and warms up
    other = _measure_trial(bench, parameters)
    return SizeFactors(
        other.least_step / own.least_step, (other.scoring + other.fixed) / (own.scoring + own.fixed)
    )


def _measure_step(bench: Workbench, parameters: Parameters) -> float:
    """Measure the seconds of the quickest step."""
    watch = _Stopwatch(most_steps=_STEPS)
    unscored = TrialRequest(number=0, parameters=replace(parameters, epochs=2), seed=_SEED, is_watched=False)
    try:
        run_trial(
            bench, unscored, watch
        )  # ends with the first step of its second epoch, before anything is scored
    except _ProbeDoneError:
        return watch.least_step_s
    except (DoesNotFitError, DivergedError) as error:
        choice = f"{parameters.adapter} on {parameters.targets}, adapted blocks {parameters.adapted_blocks}"
        raise type(error)(f"{choice}: {error.message}") from None
    raise AssertionError("a probe of steps came to its end")
