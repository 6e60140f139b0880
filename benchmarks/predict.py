"""Images per second of an exported detector, against a plain timm + peft loop, and memory at 100 and 1,000 images.

    python benchmarks/predict.py DIR IMAGES... [--count 64] [--batch 1 32] [--turns 3] [--threads 1] [--memory]

DIR is a folder of `model export`, whose scorer is `patch_knn` or `decoder`; IMAGES are files or folders, taken in
turn until there are enough. In turns, in one process, by CPU seconds beside wall seconds, each image from its file
to its score and its map at the image's own size:

- `plain`: timm's network, peft's adapter, a loop: open, resize, normalise, one pass, the one scorer, interpolate.
  Its scores are compared with ours before anything is timed.
- `ours`: `predict`, with p-values and verdicts.
- `onnx`: ONNX Runtime on `detector.onnx`, where the folder has one; opening and resizing as `plain`.

With --memory the command `predict --maps` runs on 100 and on 1,000 images, for its peak memory.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from anomalyvfm_opt.inference.file_predictions import predict_files
from anomalyvfm_opt.inference.folder import ADAPTER_MODEL, GRAPH, HEADS, MEMORY, read_card, read_file
from anomalyvfm_opt.inference.listing import Listed, list_files
from anomalyvfm_opt.inference.memory_file import PATCH_KNN
from anomalyvfm_opt.inference.opening import open_backbone
from anomalyvfm_opt.inference.standalone import StandaloneDetector
from anomalyvfm_opt.inference.tensors import unpack_tensors
from anomalyvfm_opt.model.heads import Decoder, find_decoder_width
from anomalyvfm_opt.worker.device import limit_threads

CPU = torch.device("cpu")
TOP_SHARE = 0.01
MEASURED = (sys.executable, "-S", str(Path(__file__).with_name("measured.py")))
Scored = list[tuple[float, np.ndarray]]  # score, map at the image's size
Work = Callable[[Sequence[Path], int], Scored]  # files, batch


class Plain:
    """A loop as somebody would write it who has the folder's tensors."""

    def __init__(self, folder: Path) -> None:
        self.card = card = read_card(folder)
        geometry = card.geometry
        if geometry.frame_px != (geometry.tile_px, geometry.tile_px) or geometry.keeps_aspect:
            raise SystemExit("the plain loop knows square frames without tiles only")
        self.side = geometry.tile_px
        self.backbone = open_backbone(folder, card, None, CPU)
        if card.adapter is not None:
            from peft import PeftModel

            PeftModel.from_pretrained(self.backbone.network, str((folder / ADAPTER_MODEL).parent)).eval()
        self.decoder = None
        if card.scoring.scorer == "decoder":
            heads = unpack_tensors(read_file(folder, HEADS, card), folder / HEADS)
            self.decoder = Decoder(self.backbone.map_channels, find_decoder_width(heads))
            named = {name.partition(".")[2]: t for name, t in heads.items() if name.startswith("decoder.")}
            self.decoder.load_state_dict(named)
        elif card.scoring.scorer != PATCH_KNN:
            raise SystemExit(
                f"the plain loop has no scorer {card.scoring.scorer!r}; export by patch_knn or decoder"
            )
        self.memory = unpack_tensors(read_file(folder, MEMORY, card), folder / MEMORY)[f"{PATCH_KNN}.patches"]

    @torch.inference_mode()
    def run(self, files: Sequence[Path], batch: int) -> Scored:
        found: Scored = []
        for images, pixels in read(files, batch, self.side):
            maps = self.look(self.backbone.normalise(torch.from_numpy(pixels)))
            for image, one in zip(images, maps, strict=True):
                found.append((mean_of_top(one), resize(one, (image.height, image.width))))
        return found

    def look(self, inputs: Tensor) -> Tensor:
        features = self.backbone.features(inputs)
        if self.decoder is not None:
            probability = self.decoder(features.decoder)[0].sigmoid().unsqueeze(1)
            return F.avg_pool2d(probability, 5, 1, 2, count_include_pad=False).squeeze(1)
        patches = features.patches.permute(0, 2, 3, 1)
        distances = torch.cdist(patches.flatten(1, 2), self.memory)
        return distances.min(dim=2).values.reshape(patches.shape[:3])


def read(files: Sequence[Path], batch: int, side: int) -> Iterator[tuple[list[Image.Image], np.ndarray]]:
    """Images in batches, and their pixels at the network's input, uint8 (b, side, side, 3)."""
    for first in range(0, len(files), batch):
        images = [Image.open(path).convert("RGB") for path in files[first : first + batch]]
        resized = [image.resize((side, side), Image.Resampling.BICUBIC) for image in images]
        yield images, np.stack([np.asarray(image) for image in resized])


def mean_of_top(one: Tensor) -> float:
    """The mean of a map's highest cells."""
    return float(one.flatten().topk(max(1, round(one.numel() * TOP_SHARE))).values.mean())


def resize(one: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A map at an image's size."""
    return F.interpolate(one[None, None], size=size, mode="bilinear")[0, 0].numpy()


def make_ours(folder: Path) -> Work:
    """`predict`, from files to maps; a detector for each size of a batch, as a user has one."""
    kept: dict[int, StandaloneDetector] = {}

    def run(files: Sequence[Path], batch: int) -> Scored:
        if batch not in kept:
            kept[batch] = StandaloneDetector(folder, device="cpu", batch=batch)
        answers = predict_files(kept[batch], [Listed(path, Path(path.name)) for path in files])
        return [
            (one.score, one.map_at_image()) for one in (each.prediction for each in answers) if one is not None
        ]

    return run


def make_onnx(folder: Path, side: int, threads: int) -> Work:
    """The folder's graph in ONNX Runtime, opened and resized as plainly as its README says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])

    def run(files: Sequence[Path], batch: int) -> Scored:
        found: Scored = []
        for images, pixels in read(files, batch, side):
            scores, maps = session.run(["score", "map"], {"images": pixels})
            for image, score, one in zip(images, scores, maps, strict=True):
                found.append((float(score), resize(torch.from_numpy(one[0]), (image.height, image.width))))
        return found

    return run


def take(images: Sequence[str], count: int) -> list[Path]:
    """So many files, in turn."""
    files = [listed.path for listed in list_files(images, sys.stdin.buffer)]
    if not files:
        raise SystemExit("there are no images")
    return [files[i % len(files)] for i in range(count)]


def check(arms: dict[str, Work], files: Sequence[Path]) -> None:
    """See that all arms give the same scores, before they are timed."""
    scores = {arm: np.array([score for score, _ in work(files, 8)]) for arm, work in arms.items()}
    scale = float(np.std(scores["ours"])) or 1.0
    for arm, found in scores.items():
        largest = float(np.abs(found - scores["ours"]).max()) / scale
        print(f"largest difference of {arm} from ours: {largest:.1e} standard deviations")
        if largest > 0.05:
            raise SystemExit(f"{arm} does something else than ours")


def compare(arms: dict[str, Work], files: Sequence[Path], batches: Sequence[int], turns: int) -> None:
    """Time all arms in turns and print a table."""
    print(
        f"{'batch':>5} {'arm':6} {'CPU s':>8} {'wall s':>8} {'images/CPU s':>13} {'images/s':>9} {'of plain':>9}"
    )
    for batch in batches:
        taken: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
        for turn in range(turns + 1):
            for arm, work in arms.items():
                cpu, wall = time.process_time(), time.perf_counter()
                work(files if turn else files[:batch], batch)
                if turn:  # the one before warms up
                    taken[arm].append((time.process_time() - cpu, time.perf_counter() - wall))
        medians = {
            arm: [statistics.median(part) for part in zip(*rows, strict=True)] for arm, rows in taken.items()
        }
        for arm, (cpu, wall) in medians.items():
            rates = f"{len(files) / cpu:13.1f} {len(files) / wall:9.1f}"
            print(
                f"{batch:5} {arm:6} {cpu:8.2f} {wall:8.2f} {rates} {medians['plain'][0] / cpu:8.2f}x", flush=True
            )


def measure_memory(folder: Path, files: Sequence[Path], counts: Sequence[int]) -> None:
    """Print the peak of `predict --maps` for numbers of images."""
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            listed = "\n".join(str(files[i % len(files)].absolute()) for i in range(count)) + "\n"
            command = [sys.executable, "-m", "anomalyvfm_opt", "predict", str(folder), "-"]
            options = ["--out", f"{place}/out", "--maps", "--device", "cpu"]
            call = [*MEASURED, f"{place}/taken", *command, *options]
            subprocess.run(
                call, input=listed.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
            )
            taken = json.loads(Path(place, "taken").read_text())
        if taken["exit_code"]:
            raise SystemExit(f"predict ended with exit code {taken['exit_code']}")
        print(f"predict --maps, {count:5} images: {taken['peak_mib']:6.0f} MiB, {taken['wall_s']:6.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true")
    given = parser.parse_args()
    limit_threads(given.threads)
    files = take(given.images, given.count)
    plain = Plain(given.folder)
    arms: dict[str, Work] = {"plain": plain.run, "ours": make_ours(given.folder)}
    if (given.folder / GRAPH).exists():
        arms["onnx"] = make_onnx(given.folder, plain.side, given.threads)
    check(arms, files[:16])
    compare(arms, files, given.batch, given.turns)
    if given.memory:
        measure_memory(given.folder, files, (100, 1000))


if __name__ == "__main__":
    main()
