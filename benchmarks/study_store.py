"""A study store of a benchmark's own: a server, databases on it, a study, and trials without work."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import optuna
from sqlalchemy import Engine, create_engine, make_url, text
from threadpoolctl import threadpool_limits

from anomalyvfm_opt.errors import EXIT_BUG
from anomalyvfm_opt.evaluation.metrics import evaluate
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.artifacts import ArtifactFolder
from anomalyvfm_opt.store.division import StoredImage
from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.schema import prepare_database
from anomalyvfm_opt.store.storage import open_storage
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import NewStudy, StudyRecord, create_study, load_study
from anomalyvfm_opt.trial.loop import TrialLoop, WorkerContext
from anomalyvfm_opt.trial.pulse import Pulse, StopRequest, Times
from anomalyvfm_opt.trial.result import Progress, RunTrial, TrialRequest, TrialResult
from anomalyvfm_opt.trial.settle import Ended

IMAGES = 62  # scored images of one demo category
REPORTS = 10
KEYS = tuple(f"tile/test_public/{i:03d}.png" for i in range(IMAGES))
LABELS = np.arange(IMAGES) % 2
SCORERS = ("predictor", "decoder", "mahalanobis", "patch_knn", "ensemble")
_SCORES = {name: np.random.default_rng(i).random(IMAGES) for i, name in enumerate(SCORERS)}
_METRICS = {name: evaluate(scores, LABELS) for name, scores in _SCORES.items()}
# Eight of the twelve parameters are searched, the others have one choice.
_FIXED: dict[str, Any] = {"targets": ["attention"], "adapted_blocks": ["all"], "synthesis_intensity": [1.0]}
_ATTRIBUTES = {"seconds": 60.0, "device": "none", "peak_memory_mib": 100, "micro_batch": 16, "scoring_batch": 16}


@contextmanager
def open_server() -> Iterator[str]:
    """A PostgreSQL of its own, embedded as for a user; gives its URL."""
    threadpool_limits(1)  # workers are processes, more of them than cores
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    folder = Path(tempfile.mkdtemp(prefix="anomalyvfm-opt-bench-"))
    folder.chmod(0o711)  # for root the server runs as another user, who has to pass through
    cluster = EmbeddedCluster(folder / "home")
    try:
        cluster.up()
        yield cluster.url()
    finally:
        cluster.down()
        shutil.rmtree(folder)


@contextmanager
def open_loop(
    study: optuna.Study,
    engine: Engine,
    record: StudyRecord,
    run: RunTrial,
    worker: str,
    on_end: Callable[[Ended], None] = lambda _: None,
    grace_s: float = 60.0,
) -> Iterator[TrialLoop]:
    """The loop of one worker with its pulse, as `worker run` has it."""

    def leave(exit_code: int, why: str) -> NoReturn:
        raise SystemExit(f"a trial of {worker} no longer answers: {why} ({exit_code})")

    with Pulse(engine, worker, Times(grace_s), StopRequest(), partial(os._exit, EXIT_BUG)) as pulse:
        context = WorkerContext(pulse, on_end, ArtifactFolder(Path("no trial here has files")), leave)
        yield TrialLoop(study, engine, record, lambda: run, context)


def make_database(server_url: str, name: str, template: str = "template1") -> str:
    """A database, empty or a copy of another; gives its URL."""
    run_alone(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def run_alone(url: str, *statements: str) -> None:
    """Run statements that cannot be in a transaction."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def make_study(url: str, trials: int) -> StudyRecord:
    """Our tables and one study without references, `bench/tile`."""
    spec = Spec.model_validate(
        {
            "name": "bench",
            "data": {"image_size_px": 64, "lock": "half"},
            "references": [],
            "search": {"trials": trials, "space": _FIXED},
        }
    )
    engine = make_engine(url)
    prepare_database(engine)
    storage = open_storage(url)
    images = tuple(StoredImage(key, "search", "good", key, None, "00") for key in KEYS)
    create_study(Store(url, engine), NewStudy(spec, "tile", "/data", "split", "weights", images), {})
    record = load_study(engine, "bench/tile")
    storage.engine.dispose()
    engine.dispose()
    return record


def set_budget(url: str, trials: int) -> StudyRecord:
    """Change the study's budget; gives the study."""
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE anomalyvfm_opt.study SET budget = :trials"), {"trials": trials})
    record = load_study(engine, "bench/tile")
    engine.dispose()
    return record


def run_nothing(request: TrialRequest, progress: Progress) -> TrialResult:
    """A trial without work that reports and answers like a real one."""
    value = request.seed % 1000 / 1000
    for epoch in range(1, REPORTS + 1):
        progress.report(epoch, value * epoch / REPORTS)
    return answer(request)


def answer(request: TrialRequest) -> TrialResult:
    """What a trial of five scorers answers, with some attributes."""
    return TrialResult(
        value=request.seed % 1000 / 1000,
        metrics=_METRICS,
        image_keys=KEYS,
        labels=LABELS,
        scores=_SCORES,
        attributes=_ATTRIBUTES,
    )
