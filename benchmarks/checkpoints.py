"""What a checkpoint costs an epoch: bytes and seconds, against `torch.save` of the same tensors.

    python benchmarks/checkpoints.py [--epochs 6]

Trials of the demo's spec on one thread. The peer writes the tensors in place, without a hash and without waiting
for the disk: what it leaves is not there after a power cut, and half there after a kill.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.data.split import divide
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.spec.load import load_spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.shipped import find_shipped
from anomalyvfm_opt.training.checkpoint_folder import CheckpointFolder, KeptCheckpoints
from anomalyvfm_opt.training.resume import Checkpoint, TrialInputs
from anomalyvfm_opt.trial.result import TrialRequest
from anomalyvfm_opt.worker.device import limit_threads

CATEGORY = "gravel"
CHOICES = (("lora", "attention"), ("dora", "attention_mlp"), ("adalora", "attention_mlp"))


class Clock:
    """Progress that notes when each epoch was reported."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def check(self) -> None:
        pass

    def begin_step(self) -> None:
        pass

    def resume(self, epoch: int) -> None:
        pass

    def finish_epoch(self, epoch: int, loss: float) -> None:
        pass

    def report(self, epoch: int, value: float) -> None:
        self.times.append(time.perf_counter())


class TimedFolder(CheckpointFolder):
    """Hands out the one trial's checkpoints with a clock, and has the peer write the same."""

    def for_trial(self, inputs: TrialInputs) -> "TimedCheckpoints":
        self.trial = TimedCheckpoints(self.root / inputs.key, inputs)
        return self.trial


class TimedCheckpoints(KeptCheckpoints):
    def __init__(self, folder: Path, inputs: TrialInputs) -> None:
        super().__init__(folder, inputs)
        self.save_s: list[float] = []
        self.peer_s: list[float] = []
        self.load_s = 0.0
        self.size_bytes = 0

    def save(self, checkpoint: Checkpoint) -> None:
        started = time.perf_counter()
        super().save(checkpoint)
        saved = time.perf_counter()
        torch.save(dict(checkpoint.state.tensors), self.folder.parent / "peer.pt")
        self.peer_s.append(time.perf_counter() - saved)
        self.save_s.append(saved - started)
        self.size_bytes = sum(path.stat().st_size for path in self.folder.iterdir())

    def load(self, detector: Detector) -> Checkpoint | None:
        started = time.perf_counter()
        found = super().load(detector)
        self.load_s = time.perf_counter() - started
        return found


def choose(adapter: str, targets: str, epochs: int, image_size_px: int) -> Parameters:
    return Parameters(
        adapter=adapter,
        rank=16,
        alpha_ratio=2.0,
        targets=targets,
        adapted_blocks="all",
        epochs=epochs,
        learning_rate=1e-3,
        texture=1 / 3,
        structural=1 / 3,
        contextual=1 / 3,
        synthesis_count=60,
        synthesis_intensity=1.0,
        image_size_px=image_size_px,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6)
    epochs = parser.parse_args().epochs
    limit_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_demo(folder / "data")
        spec = load_spec(find_shipped("demo.yaml"))
        split = divide(read_category(folder / "data", CATEGORY), spec.data.lock)
        backbone = load_backbone(spec, torch.device("cpu"))
        checkpoints = TimedFolder(folder / "checkpoints")
        bench = Workbench(spec, split, "demo", backbone, ArrayStore(folder / "cache"), checkpoints)
        print("adapter  targets         kB   epoch s   save ms   load ms   of an epoch   of torch.save")
        for adapter, targets in CHOICES:
            clock = Clock()
            parameters = choose(adapter, targets, epochs, spec.data.image_size_px)
            run_trial(bench, TrialRequest(number=0, parameters=parameters, seed=1), clock)
            trial = checkpoints.trial
            spent = zip(clock.times, clock.times[1:], trial.save_s, trial.peer_s, strict=False)
            epoch_s = statistics.median(after - before - save - peer for before, after, save, peer in spent)
            save_s, peer_s = statistics.median(trial.save_s), statistics.median(trial.peer_s)
            run_trial(
                bench, TrialRequest(number=0, parameters=parameters, seed=1), Clock()
            )  # which finds the last checkpoint
            print(
                f"{adapter:8} {targets:13} {trial.size_bytes / 1e3:5.0f} {epoch_s:9.2f} {1e3 * save_s:9.1f}"
                f" {1e3 * checkpoints.trial.load_s:9.1f} {save_s / epoch_s:13.2%} {save_s / peer_s:15.2f}"
            )


if __name__ == "__main__":
    main()
