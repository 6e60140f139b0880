"""Does a worker grow? Trials of different parameters in one process, against a fresh process for the last of them.

    python benchmarks/memory_growth.py [--trials 10]

The peer runs the last trial alone: what it holds afterwards is what that trial needs, and what the long process
holds beyond it has been left behind by the trials before.
"""

import argparse
import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import torch

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.data.split import divide
from anomalyvfm_opt.model.memory import read_status_mib, release_cached_memory
from anomalyvfm_opt.spec.load import load_spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.shipped import find_shipped
from anomalyvfm_opt.trial.result import TrialRequest
from anomalyvfm_opt.worker.device import limit_threads

CATEGORY = "gravel"
SETTLED = 3  # trials after which pools are open and torch's buffers made
ADAPTERS = ("lora", "dora", "rslora")
RANKS = (4, 16, 8)
TARGETS = ("attention", "attention_mlp")
BLOCKS: tuple[int | Literal["all"], ...] = (2, 4, "all", 6)
COUNTS = (30, 120, 60, 90)


class Silent:
    """Progress that nobody watches."""

    def check(self) -> None:
        pass

    def begin_step(self) -> None:
        pass

    def resume(self, epoch: int) -> None:
        pass

    def finish_epoch(self, epoch: int, loss: float) -> None:
        pass

    def report(self, epoch: int, value: float) -> None:
        pass


def choose_parameters(number: int, image_size_px: int) -> Parameters:
    """No two of the first ten trials are alike."""
    return Parameters(
        adapter=ADAPTERS[number % 3],
        rank=RANKS[number // 3 % 3],
        alpha_ratio=2.0,
        targets=TARGETS[number % 2],
        adapted_blocks=BLOCKS[number % 4],
        epochs=2,
        learning_rate=1e-3,
        texture=1 / 3,
        structural=1 / 3,
        contextual=1 / 3,
        synthesis_count=COUNTS[number % 4],
        synthesis_intensity=1.0,
        image_size_px=image_size_px,
    )


def run_trials(folder: Path, numbers: list[int]) -> list[int]:
    """Resident memory of this process in MiB after each of these trials."""
    limit_threads(1)
    spec = load_spec(find_shipped("demo.yaml"))
    split = divide(read_category(folder / "data", CATEGORY), spec.data.lock)
    backbone = load_backbone(spec, torch.device("cpu"))
    bench = Workbench(spec, split, "demo", backbone, ArrayStore(folder / "cache"))
    sizes = []
    for number in numbers:
        p = choose_parameters(number, spec.data.image_size_px)
        result = run_trial(bench, TrialRequest(number=number, parameters=p, seed=number), Silent())
        peak = result.attributes["peak_memory_mib"]
        del result
        gc.collect()  # what only waits to be collected, and what the C library keeps, is no leak
        release_cached_memory(backbone.device)  # as the next trial does when it begins
        sizes.append(read_status_mib("VmRSS") or 0)
        setting = (
            f"{p.adapter}, rank {p.rank}, {p.targets}, blocks {p.adapted_blocks}, {p.synthesis_count} anomalies"
        )
        print(f"trial {number + 1:3d}: {sizes[-1]:5d} MiB, peak {peak} MiB   {setting}", flush=True)
    return sizes


def run_alone(folder: Path, number: int) -> int:
    """The same trial in a process of its own."""
    command = [sys.executable, __file__, "--alone", str(number), "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone is not None:
        run_trials(options.folder, [options.alone])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_demo(folder / "data")
        started = time.perf_counter()
        sizes = run_trials(folder, list(range(options.trials)))
        together_s = time.perf_counter() - started
        started = time.perf_counter()
        alone = run_alone(folder, options.trials - 1)
        alone_s = time.perf_counter() - started
    settled = sizes[min(SETTLED, len(sizes)) - 1]
    print(f"growth from trial {SETTLED} to {options.trials}   {sizes[-1] - settled:+6d} MiB")
    print(f"the last trial alone in a process {alone:4d} MiB")
    print(f"ratio of worker to fresh process {sizes[-1] / alone:6.2f}")
    print(f"seconds a trial: {together_s / options.trials:.1f} in the worker, {alone_s:.1f} alone")


if __name__ == "__main__":
    main()
