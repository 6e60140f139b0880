"""A study store with one small study, and trials that cost nothing."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import optuna
import pytest
from optuna.storages import RDBStorage
from sqlalchemy import Engine

from anomalyvfm_opt.evaluation.metrics import evaluate
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.artifacts import ArtifactFolder
from anomalyvfm_opt.store.division import StoredImage
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import NewStudy, StudyRecord, create_study, load_study
from anomalyvfm_opt.trial.loop import TrialLoop, WorkerContext
from anomalyvfm_opt.trial.pulse import Pulse, StopRequest, Times
from anomalyvfm_opt.trial.result import Progress, RunTrial, TrialRequest, TrialResult
from anomalyvfm_opt.trial.settle import Ended
from anomalyvfm_opt.trial.space import build_pruner, build_sampler

if TYPE_CHECKING:
    from tests.integration.families import Families, Family

KEYS = ("tile/test_public/good/000.png", "tile/test_public/bad/000.png")
NO_FILES = ArtifactFolder(Path("these trials have no files"))
TIMES = Times(grace_s=30.0, drain_s=5.0, outage_s=30.0)
REFERENCES: dict[str, dict[str, Any] | None] = {"frozen": None}


def make_spec(**search: Any) -> Spec:
    return Spec.model_validate(
        {
            "name": "tiny",
            "data": {"image_size_px": 64, "lock": "half"},
            "references": ["frozen"],
            "search": {"trials": 6, "startup_trials": 2, **search},
        }
    )


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_new_study(spec: Spec) -> NewStudy:
    images = tuple(
        StoredImage(key, "search", label, key, None, sha256(key))
        for key, label in zip(KEYS, ("good", "bad"), strict=True)
    )
    return NewStudy(spec, "tile", "/data", sha256("split"), sha256("weights"), images)


def run_quickly(request: TrialRequest, progress: Progress) -> TrialResult:
    """A trial without training: its value is a function of its seed."""
    value = request.seed % 1000 / 1000
    if request.parameters is not None:
        progress.report(1, value / 2)
        progress.report(2, value)
    scores, labels = np.array([0.0, value]), np.array([0, 1])
    return TrialResult(
        value=value,
        metrics={"patch_knn": evaluate(scores, labels)},
        image_keys=KEYS,
        labels=labels,
        scores={"patch_knn": scores},
        attributes={"seconds": 0.1},
    )


def stay(exit_code: int, message: str) -> NoReturn:
    raise AssertionError(f"the worker would end at once with exit {exit_code}: {message}")


@dataclass
class Bench:
    """One study in a fresh database, and loops on it."""

    store: Store
    record: StudyRecord

    @property
    def engine(self) -> Engine:
        return self.store.engine

    @property
    def storage(self) -> RDBStorage:
        return self.store.storage

    def study(self) -> optuna.Study:
        return optuna.load_study(study_name=self.record.name, storage=self.storage)

    def loop(
        self,
        run: RunTrial = run_quickly,
        worker: str = "w1",
        stop: StopRequest | None = None,
        ended: list[Ended] | None = None,
        times: Times = TIMES,
        leave: Callable[[int, str], NoReturn] = stay,
    ) -> TrialLoop:
        study = optuna.load_study(
            study_name=self.record.name,
            storage=self.storage,
            sampler=build_sampler(self.record.spec.search, self.record.name, worker),
            pruner=build_pruner(self.record.spec.search),
        )
        notes = [] if ended is None else ended
        pulse = Pulse(self.engine, worker, times, stop or StopRequest(), die=lambda: None)
        context = WorkerContext(pulse, notes.append, NO_FILES, leave)
        return TrialLoop(study, self.engine, self.record, lambda: run, context)


@pytest.fixture
def bench(store_url: str) -> Bench:
    store = Store.at(store_url)
    create_study(store, make_new_study(make_spec()), REFERENCES)
    return Bench(store, load_study(store.engine, "tiny/tile"))


@pytest.fixture
def small_bench(bench: Bench) -> Bench:
    """The same with a budget of two trials."""
    from sqlalchemy import text

    with bench.engine.begin() as connection:
        connection.execute(text("UPDATE anomalyvfm_opt.study SET budget = 2"))
    return replace(bench, record=load_study(bench.engine, "tiny/tile"))


@pytest.fixture(scope="module")
def store(module_store_url: str) -> "Families":
    """A database in which each test of a module founds families of studies of its own."""
    from tests.integration.families import Families  # which stands on this file

    return Families(module_store_url)


@pytest.fixture
def family(store: "Families", request: pytest.FixtureRequest) -> "Family":
    """A study that is named after the test; nothing of it has run."""
    return store.found(request.node.name.translate({ord("["): "-", ord("]"): None})[-60:].strip("_"))
