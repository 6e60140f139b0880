"""Workers whose kept outputs of frozen blocks are counted, half-written, damaged, deleted, or find no room."""

import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.scores import read_scores
from anomalyvfm_opt.trial.result import TrialRequest
from anomalyvfm_opt.worker.images import find_images
from tests.chaos.faults import inject
from tests.chaos.invariants import assert_study_is_whole
from tests.integration.program import Finished, Process, Program, finish, make_tiny
from tests.unit.bench.test_linted_trials import Silence

pytestmark = pytest.mark.slow

WORK = ("worker", "run", "--threads", "1", "--grace-s", "2")
# Notes each output that is kept, in a file of the process.
NOTE = """
import os
from anomalyvfm_opt.model.prefix_store import PrefixStore
keep = PrefixStore.keep
def keep_and_note(self, name, array):
    keep(self, name, array)
    with open(os.path.join(os.environ["NOTES"], str(os.getpid())), "a") as file:
        file.write(name + "\\n")
PrefixStore.keep = keep_and_note
"""
KILL_WHILE_WRITING = """
from anomalyvfm_opt.model import prefix_store
write = prefix_store.write_sealed
def write_half_and_die(part, array, name):
    write(part, array, name)
    if is_time(60):
        os.truncate(part, part.stat().st_size // 2)
        die()
prefix_store.write_sealed = write_half_and_die
"""
# Once, in the middle of the second trial, with the outputs of both in use.
_IN_A_STEP = """
import shutil
from pathlib import Path
import anomalyvfm_opt.training.finetune as finetune
step = finetune._accumulate_gradients
def step_and_harm(*arguments, **options):
    if is_time(8):
        harm(Path(os.environ["ANOMALYVFM_OPT_HOME"]) / "cache" / "prefix")
    return step(*arguments, **options)
finetune._accumulate_gradients = step_and_harm
"""
DAMAGE = """
def harm(folder):
    for number, path in enumerate(sorted(folder.glob("*/*.npy"))):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 64
        path.write_bytes(content[: len(content) // (1 + number % 2)])
"""
DELETE = """
def harm(folder):
    shutil.rmtree(folder)
"""


@dataclass
class Host:
    """A host with a cache of its own, and a study that it works on."""

    program: Program
    home: Path
    study: str

    @property
    def folder(self) -> Path:
        return self.home / "cache" / "prefix"

    def surround(self, **more: str) -> dict[str, str]:
        own = {"HOME": str(self.home), "DB_URL": self.program.cluster.url()}
        return {**{f"ANOMALYVFM_OPT_{name}": value for name, value in own.items()}, **more}

    def start(self, **more: str) -> Process:
        return self.program.start(*WORK, "--study", self.study, **self.surround(**more))

    def work(self, **more: str) -> Finished:
        done = finish(self.start(**more))
        assert done.returncode == 0, done.stderr
        return done

    def assert_no_score_is_wrong(self) -> None:
        """Each trial that is complete has the scores that it has where nothing is kept."""
        assert_study_is_whole(self.program.store, self.study, self.home / "artifacts")
        record, engine = self.program.record(self.study), self.program.store.engine
        network = load_backbone(record.spec, torch.device("cpu"))
        split = find_images(record, list_images(engine, record.study_id), Path(record.data_dir))
        bench = Workbench(record.spec, split, record.split_sha256, network, ArrayStore(self.home / "none", 0))
        complete = [trial for trial in self.program.trials(self.study) if trial.state.name == "COMPLETE"]
        assert len(complete) == record.budget
        for trial in complete:
            stored = trial.user_attrs.get("parameters")
            parameters = None if stored is None else Parameters(**stored)
            request = TrialRequest(
                number=trial.number, parameters=parameters, seed=trial.user_attrs["training_seed"]
            )
            with threadpool_limits(1):
                result = run_trial(bench, request, Silence())
            assert result.value == trial.value
            for scorer, scores in result.scores.items():
                kept = {key: score for key, (_, score) in read_scores(engine, trial._trial_id, scorer).items()}
                assert kept == dict(zip(result.image_keys, map(float, scores), strict=True)), scorer


@pytest.fixture
def host(program: Program, tmp_path: Path, request: pytest.FixtureRequest) -> Host:
    """Two trials that train for three epochs of two steps, after the frozen one."""
    name = "prefix-" + "".join(c if c.isalnum() else "-" for c in request.node.name)[-40:].strip("-")
    space = {"adapter": ["lora"], "rank": [4], "adapted_blocks": [2], "epochs": {"low": 3, "high": 3}}
    study = program.create_here(name, references=["frozen"], search={"trials": 3, "space": space})
    (tmp_path / "home").mkdir()
    return Host(program, tmp_path / "home", study)


def test_a_worker_that_is_killed_while_it_writes_an_output(host: Host, tmp_path: Path) -> None:
    killed = finish(host.start(**inject(tmp_path / "fault", KILL_WHILE_WRITING)))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list(host.folder.glob("*/*.part"))) == 1
    assert "cannot be used" not in host.work().stderr
    host.assert_no_score_is_wrong()


@pytest.mark.parametrize("harm", [DAMAGE, DELETE], ids=["bytes flipped and files cut short", "folder deleted"])
def test_outputs_that_are_harmed_under_a_running_trial(host: Host, tmp_path: Path, harm: str) -> None:
    done = host.work(**inject(tmp_path / "fault", harm + _IN_A_STEP))
    assert ("cannot be used" in done.stderr) == (harm == DAMAGE)
    host.assert_no_score_is_wrong()
    assert [trial.state.name for trial in host.program.trials(host.study)] == ["COMPLETE"] * 3
    assert "cannot be used" not in done.stderr or host.folder.is_dir()


@pytest.fixture
def small_disk(host: Host) -> Iterator[Path]:
    """A file system of 1 MiB in the place of the outputs; there is room enough where decoded images lie."""
    host.folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", host.folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    yield host.folder
    subprocess.run(["umount", host.folder], check=True)


def test_a_disk_that_is_full(host: Host, small_disk: Path) -> None:
    done = host.work()
    assert "are not kept" in done.stderr
    assert "No space left on device" in done.stderr
    assert shutil.disk_usage(small_disk).free < 2**16
    assert list(small_disk.glob("*/*.part")) == []
    ways = [trial.user_attrs["prefix"]["store"] for trial in host.program.trials(host.study)]
    assert set(ways) == {"full"}
    host.assert_no_score_is_wrong()


def test_two_workers_fill_the_store_once(program: Program, tmp_path: Path) -> None:
    """Ten trials; also of what no trial's attributes count, as the benches of both workers look at the images."""
    space = {**make_tiny("any")["search"]["space"], "adapted_blocks": [2, 3]}
    study = program.create_here("prefix-once", references=["frozen"], search={"trials": 10, "space": space})
    for folder in ("home", "notes"):
        (tmp_path / folder).mkdir()
    host = Host(program, tmp_path / "home", study)
    environment = {"NOTES": str(tmp_path / "notes"), **inject(tmp_path / "fault", NOTE)}
    workers = [host.start(**environment) for _ in range(2)]
    for done in map(finish, workers):
        assert done.returncode == 0, done.stderr
    noted = [path.read_text().split() for path in (tmp_path / "notes").iterdir()]
    kept = Counter(name for names in noted for name in names)
    assert len(noted) == 2
    assert [name for name, count in kept.items() if count > 1] == []
    assert {path.stem for path in host.folder.glob("*/*.npy")} == set(kept)
    described = [trial.user_attrs["prefix"] for trial in program.trials(study)]
    assert {each["store"] for each in described} == {"kept"}
    assert sum(each["computed"] for each in described) < len(kept)
    host.assert_no_score_is_wrong()
