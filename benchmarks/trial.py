"""One trial against a plain timm + peft script, and against its ceiling: what is trained, on features in memory.

    python benchmarks/trial.py [--case NAME ...] [--turns 1] [--threads 1] [--px SIDE] [--profile]

In turns, in one process, CPU seconds beside wall seconds: a plain script (timm's network, peft's LoRA, our heads,
AdamW, whole passes), our trial with an empty store of prefix outputs (cold) and with a filled one (warm), and the
ceiling: the same script with the outputs of all frozen blocks in memory, which it does not pay for. All train 3
epochs of 12 steps of 16 on the same images and end with the same scoring: 32 images fitted, the search and the
synthetic exam, with all scorers. Ours alone also lints, and writes the detector. Weights are random: they cost
what trained ones do.
"""

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.data.split import divide
from anomalyvfm_opt.model.adapter import find_first_block
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.synthesis.mixture import Mixture
from anomalyvfm_opt.trial.result import TrialRequest
from anomalyvfm_opt.worker.device import limit_threads
from plain_trial import BATCH, COUNT, EPOCHS, STEPS, Script, look_at_features, look_at_pixels
from retraining import Silent

CATEGORY = "gravel"
VIT = {
    "name": "vit_small_patch14_dinov2.lvd142m",
    "weights": "random",
    "decoder_blocks": [5, 8, 11],
    "patch_blocks": [5, 8],
}
CNN = {
    "name": "tf_efficientnet_lite0",
    "weights": "random",
    "decoder_blocks": [1, 2, 3],
    "patch_blocks": [3, 4],
}


@dataclass(frozen=True)
class Case:
    """A network, the side of its input (px), and how many of its last blocks are adapted."""

    backbone: Mapping[str, Any]
    px: int
    blocks: int | Literal["all"]


CASES = {
    "vit-2": Case(VIT, 224, 2),
    "vit-4": Case(VIT, 224, 4),
    "vit-all": Case(VIT, 224, "all"),
    "cnn-2": Case(CNN, 192, 2),
}


def make_spec(case: Case) -> Spec:
    return Spec.model_validate(
        {
            "name": "timed",
            "data": {"image_size_px": case.px, "lock": "half"},
            "backbone": dict(case.backbone),
            "training": {"batch_size": BATCH, "steps_per_epoch": STEPS, "warmup_steps": 4},
            "scoring": {"fit_images": 32, "memory_patches": 2000, "exam_images": 24, "every_epochs": 10},
            "search": {
                "trials": 20,
                "space": {
                    "rank": [8],
                    "adapted_blocks": [case.blocks],
                    "epochs": {"low": EPOCHS, "high": EPOCHS},
                    "synthesis_count": {"low": COUNT, "high": COUNT},
                    "synthesis_intensity": [1.0],
                },
            },
        }
    )


def make_parameters(case: Case) -> Parameters:
    baseline = reference_parameters("v1.1", CATEGORY, case.px)
    if baseline is None:
        raise SystemExit("v1.1 has no parameters")
    return replace(baseline, rank=8, adapted_blocks=case.blocks, epochs=EPOCHS, synthesis_count=COUNT, dropout=0.0)


def gather_images(bench: Workbench, parameters: Parameters) -> dict[str, np.ndarray]:
    """All images that a trial reads, by name; their making is not timed."""
    anomalous, masks = bench.pools.draw(Mixture.of(parameters), 1)
    images = {"normal": bench.normal.pixels, "anomalous": anomalous, "masks": masks}
    sets = {"fit": bench.fit}
    for name, exam in (("labelled", bench.exams.labelled), ("synthetic", bench.exams.synthetic)):
        if exam is not None:
            sets |= {name: exam.images, f"{name} calibration": exam.calibration}
    return {
        **images,
        **{name: np.stack([frames.read(i) for i in range(len(frames))]) for name, frames in sets.items()},
    }


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of some work in this process."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def compare(name: str, case: Case, turns: int, folder: Path, profile: bool) -> None:
    """Run a case in turns and print its rows."""
    spec, parameters = make_spec(case), make_parameters(case)
    write_demo(folder / "data", image_size_px=case.px)
    split = divide(read_category(folder / "data", CATEGORY), spec.data.lock)
    backbone = load_backbone(spec, torch.device("cpu"))
    peer = load_backbone(spec, torch.device("cpu"))  # in memory for each arm, as a worker has it
    arrays = ArrayStore(folder / "cache")
    bench = Workbench(spec, split, "timed", backbone, arrays)
    images = gather_images(bench, parameters)
    blocks = find_first_block(peer, parameters.targets, parameters.adapted_blocks)
    plain = Script(bench, parameters, peer.network, look_at_pixels(peer, images), images)
    ceiling = Script(bench, parameters, peer.network, look_at_features(peer, images, blocks), images)
    request = TrialRequest(number=0, parameters=parameters, seed=1, is_watched=False)

    def run_ours() -> None:
        run_trial(bench, request, Silent())

    def empty_store() -> None:
        for path in (folder / "cache" / "prefix").glob("*/*.npy"):
            path.unlink()

    arms: dict[str, Callable[[], object]] = {
        "plain": plain.run,
        "cold": run_ours,
        "warm": run_ours,
        "ceiling": ceiling.run,
    }
    taken: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
    for _ in range(turns):
        for arm, work in arms.items():
            if arm == "cold":
                empty_store()
            taken[arm].append(measure(work))
    medians = {arm: [statistics.median(part) for part in zip(*times, strict=True)] for arm, times in taken.items()}
    for arm, (cpu, wall) in medians.items():
        faster, of_ceiling = medians["plain"][0] / cpu, medians["ceiling"][0] / cpu
        print(
            f"{name:8} {arm:8} {cpu:8.1f} {wall:8.1f} {faster:8.2f}x {of_ceiling:11.0%}",
            flush=True,
        )
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(run_ours)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--px", type=int, help="another side of the input")
    parser.add_argument("--profile", action="store_true", help="profile a warm trial as well")
    given = parser.parse_args()
    limit_threads(given.threads)
    print("case     arm         CPU s   wall s   of plain  of ceiling")
    for name in given.case:
        case = CASES[name] if given.px is None else replace(CASES[name], px=given.px)
        with tempfile.TemporaryDirectory() as folder:
            compare(name, case, given.turns, Path(folder), given.profile)


if __name__ == "__main__":
    main()
