"""What the workers are to run: the specs and categories that the options name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from anomalyvfm_opt.doctor.check import CheckResult, fail, ok
from anomalyvfm_opt.doctor.database import Database
from anomalyvfm_opt.spec.load import load_spec
from anomalyvfm_opt.words import counted

if TYPE_CHECKING:
    from anomalyvfm_opt.spec.model import Spec
    from anomalyvfm_opt.store.studies import StudyRecord


@dataclass(frozen=True)
class Workload:
    """A spec, and where its images are."""

    spec: "Spec"
    categories: Sequence[str]  # empty for all that the folder holds
    data: Path | None = None  # as stored with the study
    folder: Path = Path()  # of the spec's file, which the path of a weights file is relative to

    @classmethod
    def of(cls, record: "StudyRecord") -> Self:
        """Return what a study in the store needs."""
        return cls(record.spec, (record.category,), Path(record.data_dir))


class Subject:
    """Filled by the checks of spec and study, for those of weights and data; and with what a worker would join."""

    def __init__(self) -> None:
        self.workloads: list[Workload] = []
        self.joined: list[StudyRecord] = []

    def list_weights(self, file: Path | None) -> list[tuple[str, str]]:
        """Return the names of backbones and where their weights come from, each pair once.

        Args:
            file: what workers are told to use; None for what the specs say.
        """
        from anomalyvfm_opt.model.weights import resolve_weights

        sections = [(workload.spec.backbone, workload.folder) for workload in self.workloads]
        pairs = [(s.name, str(file) if file else resolve_weights(s.weights, folder)) for s, folder in sections]
        return list(dict.fromkeys(pairs))

    def list_folders(self, data: Path | None) -> dict[Path, set[str]]:
        """Data folder -> categories that are needed in it.

        Args:
            data: the folder that a worker is told; None to use the stored ones.
        """
        folders: dict[Path, set[str]] = {} if data is None else {data: set()}
        for workload in self.workloads:
            folder = data or workload.data
            if folder is not None:
                folders.setdefault(folder, set()).update(workload.categories)
        return folders


def look_at_spec(subject: Subject, file: Path) -> CheckResult:
    """Say whether the spec can be read.

    Raises:
        SpecError: with every mistake in it.
    """
    spec = load_spec(file)
    listed = () if spec.data.categories == "all" else spec.data.categories
    subject.workloads.append(Workload(spec, listed, folder=file.parent))
    backbone = f"{spec.backbone.name}, weights {spec.backbone.weights}"
    return ok(
        f"{file}: {spec.name}, {counted(len(listed), 'category') if listed else 'all categories'},"
        f" {counted(spec.search.trials, 'trial')} each; {backbone}"
    )


def look_at_study(subject: Subject, database: Database, name: str) -> CheckResult:
    """Say whether the store has it.

    Raises:
        UsageError: it does not; what is there is named.
    """
    from anomalyvfm_opt.store.selection import select_studies

    if is_store_empty(database):
        return fail(f"no study {name!r}: the store is empty", "anomalyvfm-opt study create SPEC --data DIR")
    records = select_studies(database.engine, [name])
    subject.workloads += [Workload.of(each) for each in records]
    return ok(", ".join(each.name for each in records))


def is_store_empty(database: Database) -> bool:
    """Return whether our tables are not made yet."""
    return not database.probe.has_table("anomalyvfm_opt.study")
