"""What a worker does with the study store beside its trials."""

from collections.abc import Callable

import optuna

from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.confirmations import claim_device, find_device
from anomalyvfm_opt.store.division import StoredImage, list_images
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.trial.space import build_pruner, build_sampler


class WorkerStore:
    """The operations of one worker, each of them idempotent: safe to repeat after a lost reply.

    Args:
        store: the study store.
        worker: the worker's name.
        select: which studies to serve.
    """

    def __init__(self, store: Store, worker: str, select: Callable[[], list[StudyRecord]]) -> None:
        self._store = store
        self._worker = worker
        self._select = select

    def list_studies(self) -> list[StudyRecord]:
        """Return the studies that this worker is to serve, as they are now."""
        return self._select()

    def is_used_up(self, record: StudyRecord) -> bool:
        """Return whether a study has no ticket left to take now."""
        return count_usage(self._store.engine, record.study_id).is_used_up

    def find_device(self, record: StudyRecord) -> str:
        """Return the kind of device that a confirmation runs on; empty until a worker has claimed it."""
        return find_device(self._store.engine, record.study_id)

    def claim_device(self, record: StudyRecord, device: str) -> str:
        """Return the kind of device that a confirmation runs on: that of the first worker that asks."""
        return claim_device(self._store.engine, record.study_id, device)

    def list_images(self, record: StudyRecord) -> dict[str, StoredImage]:
        """Return the stored division of a study's images, by their keys."""
        return list_images(self._store.engine, record.study_id)

    def open_study(self, record: StudyRecord) -> optuna.Study:
        """Return a study as Optuna sees it, with a sampler and a pruner of this worker's own."""
        search = record.spec.search
        return optuna.load_study(
            study_name=record.name,
            storage=self._store.sampling_storage,
            sampler=build_sampler(search, record.name, self._worker),
            pruner=build_pruner(search),
        )
