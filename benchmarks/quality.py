"""How good are frozen networks, heads alone, references, studies and anomalib's PatchCore, on locked images?

    python benchmarks/quality.py SPEC --data DIR --out ROWS.jsonl [--category C ...] [--image-size-px N]
        [--best STUDY ...] [--anomalib PYTHON] [--seeds 5] [--arms ARM ...] [--threads N] [--db URL]

Each arm is retrained with the same fresh seeds and scored on both halves of the labelled images (`lock: half`).
Its scorer, one for images and one for maps, is the one with the best mean on the search half; the table shows its
metrics on the **lock half**. A benchmark on development data may open that; a study's locked images stay closed.

Rows go to ROWS.jsonl as they come. Rows that are there are not made again, so a killed run is resumed by the same
command. Two processes may share a file: give each other categories or other --arms, then call once without. Rows
do not know the version of the program: begin a new file after a change.

- `frozen`: no adapter, by nearest patches (PatchCore / AnomalyDINO), and by the best training-free scorer.
- `heads`: the heads of v1.1 on the frozen network: its adapter does not learn, and stays at nothing.
- `v1.1`, `v1.2`: the references; where they are equal, the later is shown as `= v1.1`.
- `best`: the parameters of the best trial of the finished study of this spec and category.
- `anomalib`: PatchCore of another library with its own defaults, on the same division, decoded images, backbone,
  weights and blocks; PYTHON is its interpreter (`anomalib_patchcore.py` says how to make one).
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.data.arrays import open_arrays
from anomalyvfm_opt.data.split import Split, content_hashes, split_hash
from anomalyvfm_opt.evaluation.scorer_bank import Scores
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.network import resolve_blocks
from anomalyvfm_opt.report.summary import summarise
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.home import state_folder
from anomalyvfm_opt.store.store import open_store
from anomalyvfm_opt.store.studies import load_study
from anomalyvfm_opt.study.preparation import divide_categories, read_spec
from halves import Halves
from retraining import find_best, fresh_seed
from rival_rows import Row, RowFile, describe_arm, format_table

ANOMALIB = {"coreset_ratio": 0.1, "neighbours": 9}  # anomalib's defaults
# else the loop that draws anomalib's coreset fragments glibc's heap: 18 GB where 1.1 GB are needed
LARGE_BLOCKS_APART = {"GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={2**20}:glibc.malloc.hugetlb=1"}
ARMS = ("frozen", "heads", "v1.1", "v1.2", "best", "anomalib")


@dataclass(frozen=True)
class Subject:
    """A category, and the arms that are compared on it: name -> what makes them; None for `frozen`."""

    spec: Spec
    category: str
    split: Split
    content: str  # hash of the division
    arms: dict[str, Parameters | dict[str, float] | None]

    def identify(self, arm: str) -> str:
        """A hash of all that an arm's numbers depend on, beside the seed."""
        made_of = self.arms[arm]
        settings = asdict(made_of) if isinstance(made_of, Parameters) else made_of
        parts = [list_decisive(self.spec), self.content, settings]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def runs_as(self, arm: str) -> str:
        """The first arm with the same parameters."""
        return next(name for name, made_of in self.arms.items() if made_of == self.arms[arm])

    def list_seeds(self, count: int) -> list[int]:
        """The first fresh seeds, the same for all arms."""
        return [fresh_seed(self.spec.study_name(self.category), index) for index in range(count)]

    def select(self, rows: list[Row], arm: str, seeds: list[int]) -> list[Row]:
        """An arm's rows of some seeds."""
        identity = self.identify(arm)
        return [row for row in rows if row["identity"] == identity and row["seed"] in seeds]


def list_decisive(spec: Spec) -> dict[str, Any]:
    """The parts of a spec that a retrained trial depends on."""
    content = spec.content()
    data = {name: value for name, value in content["data"].items() if name != "categories"}
    pool_size = spec.search.space.synthesis_count.high
    return {"data": data, "pool_size": pool_size, **{n: content[n] for n in ("backbone", "training", "scoring")}}


def find_finalists(
    studies: list[str], spec: Spec, contents: dict[str, str], db: str | None
) -> dict[str, Parameters]:
    """The parameters of the best trial of each finished study, by category."""
    if not studies:
        return {}
    store, finalists = open_store(db), {}
    for name in studies:
        record = load_study(store.engine, name)
        if summarise(store, record).state != "finished":
            raise SystemExit(f"{name} is not finished; run its workers first")
        if list_decisive(record.spec) != list_decisive(spec):
            raise SystemExit(f"{name} has another data, backbone, training or scoring section than the spec")
        if record.split_sha256 != contents.get(record.category):
            raise SystemExit(f"{name} was made of other images than {record.category} here, or is not compared")
        trial, finalists[record.category] = find_best(store.storage, name, record.spec.data.image_size_px)
        report(f"{name}: the best trial is {trial.number} with {trial.value:.4f}: {finalists[record.category]}")
    return finalists


def open_subjects(options: argparse.Namespace) -> list[Subject]:
    spec, data = read_spec(options.spec, options.data, options.category)
    if spec.data.lock != "half":
        raise SystemExit(f"{options.spec} has lock: {spec.data.lock}, but arms are compared with lock: half")
    if options.image_size_px:
        content = spec.content()
        content["data"]["image_size_px"] = options.image_size_px
        content["search"]["space"]["image_size_px"] = []
        spec = Spec.model_validate(content)
    splits = divide_categories(spec, data.expanduser().resolve(), options.category)
    contents = {
        name: split_hash(split, content_hashes(r for records in split.roles.values() for r in records))
        for name, split in splits.items()
    }
    finalists = find_finalists(options.best, spec, contents, options.db)
    subjects = []
    for name, split in splits.items():
        baseline = spec.reference("v1.1", name)
        heads = baseline and replace(baseline, learning_rate=0.0, adapted_blocks=1, dropout=0.0)
        arms: dict[str, Parameters | dict[str, float] | None] = {"frozen": None, "heads": heads}
        arms |= {"v1.1": baseline, "v1.2": spec.reference("v1.2", name)}
        arms |= {"best": finalists[name]} if name in finalists else {}
        arms |= {"anomalib": ANOMALIB} if options.anomalib else {}
        subjects.append(Subject(spec, name, split, contents[name], arms))
    return subjects


def run_anomalib(
    python: str, halves: Halves, backbone: Backbone, spec: Spec, seeds: list[int]
) -> Iterator[dict[str, Any]]:
    """Rows of anomalib's PatchCore: its scores and maps, measured as ours are."""
    if halves.fit.geometry.is_tiled or halves.fit.has_padding:
        raise SystemExit("anomalib is compared on whole images without padding: aspect: stretch and no tiles")
    blocks = spec.backbone.patch_blocks or spec.backbone.decoder_blocks
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "fit.npy", halves.fit.pixels)
        np.save(folder / "scored.npy", halves.pixels)
        save_file({k: v.contiguous() for k, v in backbone.network.state_dict().items()}, folder / "w.safetensors")
        request = {
            "model": spec.backbone.name,
            "weights": str(folder / "w.safetensors"),
            "blocks": sorted(resolve_blocks(spec.backbone.name, backbone.network, blocks)[0]),
            "mean": backbone.network.pretrained_cfg["mean"],
            "std": backbone.network.pretrained_cfg["std"],
            **ANOMALIB,
            "seeds": seeds,
            "threads": torch.get_num_threads(),
            "fit": str(folder / "fit.npy"),
            "scored": str(folder / "scored.npy"),
            "out": name,
        }
        (folder / "request.json").write_text(json.dumps(request))
        script = Path(__file__).with_name("anomalib_patchcore.py")
        command = [python, "-W", "ignore", str(script), str(folder / "request.json")]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"TQDM_DISABLE": "1", **LARGE_BLOCKS_APART}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            for line in process.stdout or ():
                answer = json.loads(line)
                with np.load(answer.pop("scores")) as made:
                    scores = Scores({"patchcore": made["scores"]}, {"patchcore": made["maps"]})
                yield {**answer, "measures": halves.measure(scores)}
        if process.returncode:
            raise SystemExit(f"anomalib ended with {process.returncode}")


def make_rows(subject: Subject, options: argparse.Namespace, file: RowFile) -> None:
    """Make the rows that are missing, seed by seed, so that a killed run has as many of each arm."""
    arms = [arm for arm in subject.arms if arm in options.arms and subject.runs_as(arm) == arm]
    rows, seeds = file.read(), subject.list_seeds(options.seeds)
    done = {arm: {row["seed"] for row in subject.select(rows, arm, seeds)} for arm in arms}
    missing = {arm: [seed for seed in seeds if seed not in done[arm]] for arm in arms}
    if not any(missing.values()):
        return
    backbone = load_backbone(subject.spec, torch.device("cpu"))
    arrays, own_size_px = open_arrays(state_folder()), subject.spec.data.image_size_px

    @cache
    def open_halves(image_size_px: int) -> Halves:
        spec = subject.spec.at_size(image_size_px)
        own = backbone if spec == subject.spec else load_backbone(spec, torch.device("cpu"))
        return Halves(spec, subject.split, subject.content, own, arrays)

    def add(arm: str, row: dict[str, Any]) -> None:
        file.add({"category": subject.category, "arm": arm, "identity": subject.identify(arm), **row})
        locked = {scorer: metrics["image_auroc"] for scorer, metrics in row["measures"]["locked"].items()}
        report(f"{subject.category} {arm} seed {row['seed']}: {row['seconds']:.1f} s, {locked}")

    ours = [arm for arm in arms if arm != "anomalib"]
    for seed, arm in ((seed, arm) for seed in seeds for arm in ours if seed in missing[arm]):
        started = time.perf_counter()
        parameters = subject.arms[arm]
        if isinstance(parameters, dict):
            raise TypeError(f"{arm} is not an arm of ours")
        halves = open_halves(parameters.image_size_px if parameters else own_size_px)
        measures = halves.judge(parameters, seed)
        add(arm, {"seed": seed, "seconds": round(time.perf_counter() - started, 2), "measures": measures})
    if missing.get("anomalib"):
        halves = open_halves(own_size_px)
        for row in run_anomalib(options.anomalib, halves, backbone, subject.spec, missing["anomalib"]):
            add("anomalib", row)


def print_table(subject: Subject, rows: list[Row], seeds: int) -> None:
    lines = []
    for arm in subject.arms:
        own, same = subject.select(rows, arm, subject.list_seeds(seeds)), subject.runs_as(arm)
        if same != arm:
            lines.append(describe_arm(f"{arm} = {same}", []))
        elif arm == "frozen":
            lines.append(describe_arm("frozen, nearest patches", own, {"patch_knn"}))
            lines.append(describe_arm("frozen, best scorer", own))
        else:
            lines.append(describe_arm("PatchCore of anomalib" if arm == "anomalib" else arm, own))
    bad = sum(record.label == "bad" for record in subject.split.locked)
    spec = subject.spec
    print(f"\n### {subject.category}, {spec.data.image_size_px} px, patch blocks {spec.backbone.patch_blocks}")
    print(f"\nLock half: {len(subject.split.locked) - bad} good and {bad} bad images.\n")
    print(format_table(lines), flush=True)


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--category", action="append", default=[])
    parser.add_argument("--image-size-px", type=int)
    parser.add_argument("--best", action="append", default=[], metavar="STUDY")
    parser.add_argument("--anomalib", metavar="PYTHON")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="what to run; the table shows all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--db")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    subjects, file = open_subjects(options), RowFile(options.out)
    for subject in subjects:
        make_rows(subject, options, file)
    for subject in subjects:
        print_table(subject, file.read(), options.seeds)


if __name__ == "__main__":
    main()
