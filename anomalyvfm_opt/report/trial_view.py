"""One trial with all that the store knows of it, for lists of trials and for a look at one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.evaluation.linter.findings import is_unsound, name_checks
from anomalyvfm_opt.report.grid import signed
from anomalyvfm_opt.report.setting import SETTING_HEADING, describe_setting
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.scores import read_aurocs
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.trial_fates import Fate, list_fates
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.store.trials import StoredTrial, list_trials

COLUMNS = ("trial", "what", "state", "value", SETTING_HEADING, "seconds", "findings")
RIGHT = (0, 3, 5)


@dataclass(frozen=True, kw_only=True)
class TrialView:
    """One trial of a study.

    Args:
        study: that it is of.
        trial: its rows of Optuna's.
        record: its attributes.
        fate: its rows of ours.
        parameters: None for the frozen network, and before it began.
        arm: that a sibling's trial retrains; None in a search.
        value: image AUROC; None before it is complete, and while a confirmation is sealed.
        aurocs: scorer -> image AUROC on the images that the value is of; empty without a value.
    """

    study: StudyRecord
    trial: StoredTrial
    record: TrialRecord
    fate: Fate
    parameters: Parameters | None
    arm: str | None
    value: float | None
    aurocs: Mapping[str, float]

    @property
    def what(self) -> str:
        """What it is of: the reference or the arm that it runs, or `search`."""
        return self.record.reference or self.arm or "search"

    @property
    def state(self) -> str:
        """How it ended, or that it waits or runs, and then after which epoch."""
        if self.fate.outcome:
            return f"{self.fate.outcome}, given back" if self.fate.is_given_back else self.fate.outcome
        epochs = self.parameters.epochs if self.parameters else None
        is_under_way = self.trial.state == "RUNNING" and self.fate.epoch is not None and epochs is not None
        return f"epoch {self.fate.epoch}/{epochs}" if is_under_way else self.trial.state.lower()

    def to_json(self) -> dict[str, Any]:
        """Return the `trial show --json` object without its schema."""
        p, record, trial = self.parameters, self.record, self.trial
        return {
            "number": trial.number,
            "kind": self.study.kind,
            "reference": record.reference,
            "arm": self.arm,
            "state": trial.state.lower(),
            "outcome": self.fate.outcome or None,
            "message": self.fate.message or None,
            "epoch": self.fate.epoch,
            "value": self.value,
            "scorer": record.scorer,
            "image_auroc": dict(self.aurocs),
            "params": None if p is None else {**p.to_json(), "alpha": p.alpha},
            "training_seed": record.training_seed,
            "retry_of": record.retry_of,
            "seconds": record.seconds,
            "started_at": _to_iso(trial.datetime_start),
            "ended_at": _to_iso(trial.datetime_complete),
            "worker": self.fate.worker,
            "host": record.host,
            "device": record.device,
            "findings": [vars(finding) for finding in record.read_findings()],
        }


def view_trials(store: Store, study: StudyRecord) -> list[TrialView]:
    """Read all trials of a study, by number. What a running confirmation measures is not among it."""
    fates, aurocs = list_fates(store.engine, study.study_id), read_aurocs(store.engine, [study.study_id])
    trials = sorted(list_trials(store.engine, study.study_id), key=lambda trial: trial.number)
    return [_view(study, trial, fates[trial.trial_id], aurocs) for trial in trials if trial.trial_id in fates]


def find_trial(views: Sequence[TrialView], study: StudyRecord, number: int) -> TrialView:
    """Return the trial of that number.

    Raises:
        UsageError: there is none.
    """
    for view in views:
        if view.trial.number == number:
            return view
    there = f"its trials are 0 to {views[-1].trial.number}" if views else "it has none yet"
    raise UsageError(f"{study.name} has no trial {number}", f"{there}: anomalyvfm-opt trial list {study.name}")


def _view(
    study: StudyRecord, trial: StoredTrial, fate: Fate, aurocs: Mapping[int, Mapping[str, float]]
) -> TrialView:
    record = TrialRecord.from_attributes(trial.user_attrs)
    own_size_px = study.spec.data.image_size_px
    planned = record.read_planned(own_size_px)
    is_seen = trial.value is not None and math.isfinite(trial.value)  # a sealed one is minus infinity
    return TrialView(
        study=study,
        trial=trial,
        record=record,
        fate=fate,
        parameters=record.read_parameters(own_size_px),
        arm=None if planned is None else planned.arm,
        value=trial.value if is_seen else None,
        aurocs=aurocs.get(trial.trial_id, {}) if is_seen else {},
    )


def list_cells(view: TrialView) -> tuple[str, ...]:
    """Return a trial's row under `COLUMNS`."""
    has_begun = view.parameters is not None or view.record.training_seed is not None
    return (
        str(view.trial.number),
        view.what,
        view.state,
        "-" if view.value is None else f"{view.value:.4f}",
        describe_setting(view.parameters, view.study.spec.search.space) if has_begun else "-",
        "-" if view.record.seconds is None else f"{view.record.spent_s:.1f}",
        name_checks(view.record.read_findings()) or "-",
    )


def describe_trial(view: TrialView, references: Mapping[str, TrialView]) -> Iterator[tuple[str, str]]:
    """Say all of a trial: heads and what stands beside them.

    Args:
        view: of the trial.
        references: name -> a complete reference of its study that it may be compared with.
    """
    yield "what", view.what
    yield "state", f"{view.state}: {_last_line(view.fate.message)}" if view.fate.message else view.state
    yield from _describe_values(view, references)
    yield from _describe_parameters(view.parameters)
    yield from _describe_run(view)
    for finding in view.record.read_findings():
        yield finding.check, f"{finding.severity}: {finding.message}"
    if view.record.findings is not None:
        yield "findings", _describe_findings(view.record)


def _describe_values(view: TrialView, references: Mapping[str, TrialView]) -> Iterator[tuple[str, str]]:
    if view.value is None:
        return
    yield "value", f"{view.value:.4f} image AUROC" + (f" by {view.record.scorer}" if view.record.scorer else "")
    for name, other in references.items():
        if other.value is not None and other.trial.number != view.trial.number:
            gain = signed(view.value - other.value)
            yield f"against {name}", f"{gain} (trial {other.trial.number}: {other.value:.4f})"
    if view.aurocs:
        yield "by scorer", ", ".join(f"{name} {value:.4f}" for name, value in view.aurocs.items())


def _describe_run(view: TrialView) -> Iterator[tuple[str, str]]:
    """Say with which seed it ran, as whose copy, when, where and for how long, as far as that is known."""
    record, trial = view.record, view.trial
    device = None if record.device is None else f"{record.device}, {record.dtype}, on {record.host}"
    known = {
        "training seed": record.training_seed,
        "retry of": None if record.retry_of is None else f"trial {record.retry_of}",
        "seconds": None if record.seconds is None else f"{record.spent_s:.1f}",
        "started": None if trial.datetime_start is None else f"{trial.datetime_start:%Y-%m-%d %H:%M:%S}",
        "ended": None if trial.datetime_complete is None else f"{trial.datetime_complete:%Y-%m-%d %H:%M:%S}",
        "worker": view.fate.worker,
        "device": device,
    }
    yield from ((head, str(value)) for head, value in known.items() if value is not None)


def _describe_parameters(p: Parameters | None) -> Iterator[tuple[str, str]]:
    if p is None:
        return
    for name, value in p.to_json().items():
        if not p.says(name):
            continue
        yield name, f"{value:.6g}" if isinstance(value, float) else str(value)
        if name == "alpha_ratio":
            yield "alpha", f"{p.alpha:.6g}"


def _describe_findings(record: TrialRecord) -> str:
    found = record.read_findings()
    if not found:
        return "none"
    what = "its value cannot be trusted" if is_unsound(found) else "its value holds"
    return f"{len(found)}: {what}; anomalyvfm-opt glossary NAME tells of each"


def _last_line(message: str) -> str:
    return (message.strip().splitlines() or ["-"])[-1]


def _to_iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
