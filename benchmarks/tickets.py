"""What our loop costs a trial beside its work, against plain `study.ask` and `study.tell` on one PostgreSQL.

Both sample the same space with the same sampler; ours adds lease, heartbeat, reaping, attributes and scores.
"""

import shutil
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Engine

from anomalyvfm_opt.evaluation.metrics import evaluate
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.schema import prepare_database
from anomalyvfm_opt.store.storage import open_storage
from anomalyvfm_opt.store.studies import NewStudy, StoredImage, create_study, load_study
from anomalyvfm_opt.trial.loop import TrialLoop, Turn
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.trial.space import build_sampler, list_distributions

TRIALS = 40
IMAGES = 62  # scored images of one demo category
KEYS = tuple(f"tile/test_public/{i:03d}.png" for i in range(IMAGES))
LABELS = np.arange(IMAGES) % 2
SPEC = Spec.model_validate(
    {
        "name": "bench",
        "data": {"image_size_px": 64, "lock": "half"},
        "references": [],
        "search": {"trials": TRIALS},
    }
)


def run_nothing(request: TrialRequest, _progress: Progress) -> TrialResult:
    """A trial without work: its scores are noise."""
    scores = np.random.default_rng(request.seed).random(IMAGES)
    return TrialResult(0.5, {"patch_knn": evaluate(scores, LABELS)}, KEYS, LABELS, {"patch_knn": scores})


def measure_plain(storage: RDBStorage) -> float:
    """Seconds a trial of Optuna alone."""
    sampler = build_sampler(SPEC.search, "plain", "w")
    study = optuna.create_study(storage=storage, study_name="plain", sampler=sampler, direction="maximize")
    distributions = list_distributions(SPEC.search.space)
    started = time.perf_counter()
    for _ in range(TRIALS):
        study.tell(study.ask(distributions), 0.5)
    return (time.perf_counter() - started) / TRIALS


def measure_ours(storage: RDBStorage, engine: Engine) -> float:
    """Seconds a trial of our loop."""
    images = tuple(StoredImage(key, "search", "good", key, None, "00") for key in KEYS)
    create_study(storage, engine, NewStudy(SPEC, "tile", "/data", "split", "weights", images), {})
    sampler = build_sampler(SPEC.search, "bench/tile", "w")
    study = optuna.load_study(study_name="bench/tile", storage=storage, sampler=sampler)
    record = load_study(engine, "bench/tile")
    loop = TrialLoop(study, engine, record, lambda: run_nothing, "w", lambda: None, lambda _: None)
    started = time.perf_counter()
    while loop.take_turn() is not Turn.DONE:
        pass
    return (time.perf_counter() - started) / TRIALS


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    folder = Path(tempfile.mkdtemp(prefix="anomalyvfm-opt-bench-"))
    folder.chmod(0o711)  # for root the server runs as another user, who has to pass through
    cluster = EmbeddedCluster(folder / "home")
    try:
        cluster.up()
        engine = make_engine(cluster.url())
        prepare_database(engine)
        storage = open_storage(cluster.url())
        plain_s, ours_s = measure_plain(storage), measure_ours(storage, engine)
    finally:
        cluster.down()
        shutil.rmtree(folder)
    print(f"{TRIALS} trials without work, {IMAGES} image scores each")
    print(f"our loop           {1000 * ours_s:7.1f} ms a trial")
    print(f"plain ask and tell {1000 * plain_s:7.1f} ms a trial")
    print(f"ratio              {ours_s / plain_s:7.2f}")


if __name__ == "__main__":
    main()
