"""A trial's way to its end: what it reports, the checkpoint that a retry goes on from, and what comes of it."""

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from anomalyvfm_opt import __version__
from anomalyvfm_opt.bench.lock import LockedScores
from anomalyvfm_opt.evaluation.linter.findings import Finding
from anomalyvfm_opt.evaluation.linter.lint import Scored
from anomalyvfm_opt.evaluation.scorer_bank import Scores
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.model.device import name_device
from anomalyvfm_opt.model.memory import TrialMemory
from anomalyvfm_opt.training.resume import Checkpoint, TrialCheckpoints
from anomalyvfm_opt.training.state import TrainingState
from anomalyvfm_opt.trial.result import Progress


@dataclass(frozen=True)
class Answers:
    """Scores of a finished detector: on the exam that its value comes from, and on the synthetic one."""

    deciding: Scored
    synthetic: Scores | None

    @property
    def scores(self) -> Scores:
        """The scores that the value comes from."""
        return self.deciding.scores


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a trial came to.

    Args:
        answers: of its detector.
        findings: of the linter.
        attributes: what is stored of the training.
        artifacts: files by kind.
        discard: removes what a retry would have gone on from.
        earlier_s: seconds of earlier runs, up to the epochs that the last one went on from.
        locked: its scores on the locked images, in a confirmation.
    """

    answers: Answers
    findings: list[Finding]
    attributes: Mapping[str, Any]
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    discard: Callable[[], None] = lambda: None
    earlier_s: float = 0.0
    locked: LockedScores | None = None


class Course:
    """What one run of a trial adds to those before it.

    Args:
        checkpoints: of the trial.
        progress: the line to the loop.
        memory: of this run.
        environment: what the run's numbers depend on beside the trial's inputs.
    """

    def __init__(
        self,
        checkpoints: TrialCheckpoints,
        progress: Progress,
        memory: TrialMemory,
        environment: Mapping[str, Any],
    ) -> None:
        self._checkpoints = checkpoints
        self._progress = progress
        self._memory = memory
        self._environment = environment
        self._started = time.perf_counter()
        self.earlier_s = 0.0
        self._values: dict[int, float] = {}
        self._parts: tuple[Mapping[str, Any], ...] = ()

    def begin(self, detector: Detector) -> TrainingState | None:
        """Take up an earlier run, if it left a checkpoint, and report what it had reported.

        Returns:
            The state to go on from; None from the start.
        """
        found = self._checkpoints.load(detector)
        from_epoch = found.state.epoch if found else 0
        self._parts = (*(found.parts if found else ()), {"from_epoch": from_epoch, **self._environment})
        if found is None:
            return None
        self.earlier_s = found.seconds
        self._memory.scoring_batch.size = found.scoring_batch
        self._progress.resume(from_epoch)
        for epoch, value in sorted(found.values.items()):
            self.report(epoch, value)
        return found.state

    def report(self, epoch: int, value: float) -> None:
        """Tell the loop a value, once: a retry may be another trial to the study, which has to see all of them."""
        if epoch not in self._values:
            self._values[epoch] = value
            self._progress.report(epoch, value)

    def keep(self, state: TrainingState) -> None:
        """Write a checkpoint."""
        seconds = self.earlier_s + time.perf_counter() - self._started
        scoring_batch = self._memory.scoring_batch.size
        self._checkpoints.save(
            Checkpoint(
                state=state,
                values=self._values,
                seconds=seconds,
                scoring_batch=scoring_batch,
                parts=self._parts,
            )
        )

    def discard(self) -> None:
        """Remove the checkpoint: there is no retry."""
        self._checkpoints.discard()

    def describe(self) -> dict[str, Any]:
        """Return the trial's attributes: after which epochs it was taken up again, and where its parts ran."""
        if len(self._parts) < 2:
            return {}
        return {"resumed_from_epoch": [part["from_epoch"] for part in self._parts[1:]], "parts": self._parts}


def describe_environment(backbone: Backbone) -> Mapping[str, Any]:
    """Return what a trial's numbers depend on beside spec, data, parameters and seed."""
    import peft
    import timm

    device = backbone.device
    return {
        "device": name_device(device),
        "dtype": "bfloat16" if device.type == "cuda" else "float32",
        "threads": torch.get_num_threads(),
        "host": platform.node(),
        "weights": backbone.weights,
        "versions": {
            "anomalyvfm_opt": __version__,
            "torch": str(torch.__version__),
            "timm": timm.__version__,
            "peft": peft.__version__,
        },
    }
