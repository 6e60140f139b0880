"""A study with its siblings, and trainings that cost nothing: values are a function of parameters and seed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from optuna.storages import RDBStorage
from sqlalchemy import Engine, text

from anomalyvfm_opt.evaluation.metrics import evaluate
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.spec.study_name import Kind
from anomalyvfm_opt.store.division import StoredImage
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.schema import prepare_database
from anomalyvfm_opt.store.siblings import find_sibling, plan_trials
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import NewStudy, create_study, delete_study, load_study
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.trial.space import fix_parameters, list_distributions
from anomalyvfm_opt.verdict.confirm import advance
from anomalyvfm_opt.verdict.next_step import Stage, Wishes
from anomalyvfm_opt.verdict.read_trials import list_runs
from anomalyvfm_opt.verdict.runs import Run
from tests.integration.conftest import Bench, sha256
from tests.integration.trial_states import run_to_end

SCENES = 12  # of each label: locked, and as many to search on
SCORERS = ("ensemble", "patch_knn")
SPEC: dict[str, Any] = {
    "data": {"image_size_px": 64, "lock": "half"},
    "references": ["frozen", "v1.1"],
    "search": {"trials": 6, "sampler": "random"},
    "verdict": {"noise_seeds": 3, "finalists": 2, "race_seeds": 2, "seeds": 4},
}
V1_1 = reference_parameters("v1.1", "tile", 64)
Worth = Callable[[Parameters | None], float]
Fault = Callable[[TrialRequest], Exception | None]


def list_keys(role: str) -> tuple[str, ...]:
    return tuple(f"tile/{role}/{label}/{i:03d}" for label in ("bad", "good") for i in range(SCENES))


def even(p: Parameters | None) -> float:
    """A little better than chance, and no parameters better than others."""
    return 0.1 if p is None else 0.2


def better(p: Parameters | None) -> float:
    """Whatever is searched is far better than the baseline."""
    return even(p) if p in (None, V1_1) else 6.0


@dataclass
class Trainings:
    """Runs trials: how far the anomalous images stand apart is what their parameters are worth."""

    worth: Worth = even
    fault: Fault = lambda _request: None
    ran: list[TrialRequest] = field(default_factory=list)

    def run(self, request: TrialRequest, _progress: Progress) -> TrialResult:
        self.ran.append(request)
        error = self.fault(request)
        if error is not None:
            raise error
        if request.look is not None:
            request.look.write_down()
        keys = list_keys("search" if request.look is None else "locked")
        labels = np.array([int("/bad/" in key) for key in keys])
        hardness = np.array([np.random.default_rng(list(key.encode())).normal() for key in keys])
        drawn = np.random.default_rng(request.seed).normal(size=(len(SCORERS), len(keys)))
        apart = hardness + labels * self.worth(request.parameters)
        scores = dict(zip(SCORERS, apart + 0.2 * drawn, strict=True))
        if request.look is not None:
            scores = {request.look.scorer: scores[request.look.scorer]}
        metrics = {name: evaluate(values, labels) for name, values in scores.items()}
        value = max(metric.image_auroc for metric in metrics.values())
        attributes = {"seconds": 2.0, "device": "cpu", "inference_s_per_image": 0.01}
        return TrialResult(
            value=value, metrics=metrics, image_keys=keys, labels=labels, scores=scores, attributes=attributes
        )


@dataclass
class Family:
    """One study that searches, and whatever is planned beside it."""

    bench: Bench
    trainings: Trainings

    @property
    def store(self) -> Store:
        return self.bench.store

    @property
    def engine(self) -> Engine:
        return self.bench.engine

    @property
    def storage(self) -> RDBStorage:
        return self.bench.storage

    @property
    def name(self) -> str:
        return self.bench.record.name

    def sibling(self, kind: Kind) -> Bench:
        found = find_sibling(self.engine, self.bench.record, kind)
        assert found is not None
        return replace(self.bench, record=found)

    def search(self) -> None:
        run_to_end(self.bench.loop(self.trainings.run))

    def work(self, kind: Kind, **options: Any) -> None:
        run_to_end(self.sibling(kind).loop(self.trainings.run, **options))

    def runs(self, kind: Kind) -> list[Run]:
        return list_runs(self.store, self.sibling(kind).record)

    def advance(self, **wishes: Any) -> Stage:
        return advance(self.store, self.bench.record, Wishes(**wishes))

    def plan(self, **wishes: Any) -> Stage:
        """Up to the plan of a round, with all replicates done."""
        while (stage := self.advance(**wishes)).name == "replicating":
            self.work("replicates")
        return stage

    def confirm(self, **wishes: Any) -> None:
        """From a finished search to the end of a round."""
        self.plan(**wishes)
        self.work("confirm")
        assert self.advance().name == "done"

    def delete(self) -> None:
        delete_study(self.store, self.name)

    def ask(self, query: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(query)))

    def look_rows(self) -> list[Any]:
        query = "SELECT * FROM anomalyvfm_opt.look WHERE study_name = '{}#confirm' ORDER BY looked_at"
        return self.ask(query.format(self.name))


class Families(Store):
    """A store in which each test founds families of its own."""

    def __init__(self, url: str) -> None:
        super().__init__(url, make_engine(url))
        prepare_database(self.engine)

    def open(self, name: str) -> Family:
        """A family that is there already."""
        return Family(Bench(self, load_study(self.engine, name)), Trainings())

    def found(
        self,
        name: str,
        worth: Worth = even,
        fault: Fault = lambda _request: None,
        images: str | None = None,
        category: str = "tile",
        judged: int = 1,
        **changes: Any,
    ) -> Family:
        """A family whose images are of its own, or those called `images`; changes are merged into the spec."""
        content: dict[str, Any] = {"name": name, **SPEC}
        for key, value in changes.items():
            content[key] = {**content[key], **value} if isinstance(value, dict) else value
        spec = Spec.model_validate(content)
        stored = make_images(images or f"{name}/{category}")
        new = NewStudy(spec, category, "/data", sha256("split"), sha256("weights"), stored, judged=judged)
        distributions = list_distributions(spec.search.space)
        references = {
            reference: fix_parameters(spec.reference(reference, category), distributions)
            for reference, run_as in spec.references_run(category).items()
            if reference == run_as
        }
        create_study(self, new, references)
        record = load_study(self.engine, new.name)
        return Family(Bench(self, record), Trainings(worth, fault))


def make_images(contents: str, swapped: bool = False) -> tuple[StoredImage, ...]:
    """Images to search on and locked ones; `swapped`, the same with their parts exchanged."""

    def store(role: str, key: str) -> StoredImage:
        label = "bad" if "/bad/" in key else "good"
        sha256 = hashlib.sha256(f"{contents} {key}".encode()).hexdigest()
        return StoredImage(key, role, label, key, None, sha256)

    roles = {"search": "locked", "locked": "search"} if swapped else {"search": "search", "locked": "locked"}
    return tuple(store(role, key) for folder, role in roles.items() for key in list_keys(folder))


def plan_some(arm: str, count: int, **changes: Any) -> list[tuple[Planned, dict[str, Any]]]:
    """Planned retrainings of v1.1 outside of any protocol."""
    return [(replace(Planned(arm, V1_1, seed), **changes), {}) for seed in range(1, count + 1)]


def plan_looks(family: Family, count: int = 1, **changes: Any) -> None:
    """Trials that open the lock, without all that comes before them."""
    trials = plan_some("finalist", count, round=1, scorer="patch_knn", **changes)
    plan_trials(family.store, family.bench.record, "confirm", trials)
