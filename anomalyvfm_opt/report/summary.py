"""A study at a glance: budget, references, best trial."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from anomalyvfm_opt.evaluation.linter.findings import Finding, is_unsound
from anomalyvfm_opt.report.overview import describe_usage, name_state, show_noise
from anomalyvfm_opt.report.setting import describe_mix, describe_setting
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import FROZEN, HEADS
from anomalyvfm_opt.store.budget import Usage, count_usage
from anomalyvfm_opt.store.division import count_locked_scenes, count_roles
from anomalyvfm_opt.store.outcomes import list_failures
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.study_state import StudyState, read_state
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.store.trials import StoredTrial, TrialState, is_auroc, list_notable
from anomalyvfm_opt.store.workers import WorkerRow, list_workers
from anomalyvfm_opt.verdict.read_trials import list_runs, list_sibling_runs
from anomalyvfm_opt.verdict.replicates import Noise, find_noise, name_baseline
from anomalyvfm_opt.verdict.resolution import resolve
from anomalyvfm_opt.verdict.runs import Arm, group_arms

_KEYS = ("reference", "parameters", "seconds", "scorer", "peak_memory_mib", "findings")  # of TrialRecord


@dataclass(frozen=True)
class TrialSummary:
    """One complete trial. `parameters` is None for `frozen`."""

    number: int
    value: float
    parameters: Parameters | None
    seconds: float
    scorer: str
    reference: str | None
    peak_memory_mib: int | None  # None where it is not known, as in trials of older versions
    findings: tuple[Finding, ...]  # of the linter; none in trials of older versions

    @property
    def is_unsound(self) -> bool:
        """Whether its value cannot be trusted."""
        return is_unsound(self.findings)


@dataclass(frozen=True)
class FailureSummary:
    """One trial that counts and has no value.

    `parameters` is None for `frozen`, and in trials of older versions.
    """

    number: int
    outcome: str
    message: str
    parameters: Parameters | None


@dataclass(frozen=True)
class StudySummary:
    """A study's state. `references` maps each name of the spec to its trial, None until that is complete.

    `best` leaves out trials whose value cannot be trusted; a sibling study has none, and no references, but arms.
    """

    record: StudyRecord
    usage: Usage
    set_state: StudyState  # by a person, or by too many bugs
    images: dict[str, int]  # role -> count
    references: dict[str, TrialSummary | None]
    same_as: dict[str, str]  # a reference that equals an earlier one -> that one's name
    best: TrialSummary | None
    failures: list[FailureSummary] = field(default_factory=list)
    findings: list[tuple[int, Finding]] = field(default_factory=list)  # number of the trial, and of the linter
    scenes: tuple[int, int] | None = None  # good and bad ones that are locked
    noise: Noise | None = None  # None until two of the baseline's replicates are done
    arms: tuple[Arm, ...] = ()  # of a sibling study
    workers: tuple[WorkerRow, ...] = ()  # that run a trial of it

    @property
    def state(self) -> str:
        """`finished` once the budget is used up and nothing is running, else `active`, `paused` or `stopped`."""
        return name_state(self.usage, self.set_state)

    @property
    def could_see(self) -> float | None:
        """The smallest gain that a confirmation would show, with the noise floor's seed SD; None without it."""
        if self.noise is None or self.scenes is None:
            return None
        terms = self.record.spec.verdict
        found = resolve(
            *self.scenes,
            self.record.judged or 1,
            seed_sd=self.noise.floor.sd,
            seeds=terms.seeds,
            min_gain=terms.min_gain,
            confidence=terms.confidence,
        )
        return None if found is None else found.smallest_gain

    def list_unsound(self) -> list[int]:
        """Numbers of the trials whose value cannot be trusted."""
        return sorted({number for number, finding in self.findings if is_unsound([finding])})


def summarise(store: Store, record: StudyRecord) -> StudySummary:
    """Collect what the store knows of one study."""
    trials = {trial.number: trial for trial in list_notable(store.engine, record.study_id, _KEYS)}
    own_size_px = record.spec.data.image_size_px
    complete = [_summarise_trial(t, own_size_px) for t in trials.values() if t.state is TrialState.COMPLETE]
    is_search = record.kind == "search"
    run_as = record.spec.references_run(record.category) if is_search else {}
    by_reference = {trial.reference: trial for trial in complete if trial.reference}
    failures = [
        FailureSummary(
            number=failed.number,
            outcome=failed.outcome,
            message=failed.message,
            parameters=TrialRecord.from_attributes(trials[failed.number].user_attrs).read_parameters(own_size_px),
        )
        for failed in list_failures(store.engine, record.study_id)
    ]
    return StudySummary(
        record=record,
        usage=count_usage(store.engine, record.study_id),
        set_state=read_state(store.engine, record.study_id),
        images=count_roles(store.engine, record.study_id),
        references={name: by_reference.get(other) for name, other in run_as.items()},
        same_as={name: other for name, other in run_as.items() if name != other},
        best=max(
            (trial for trial in complete if is_search and not trial.is_unsound and is_auroc(trial.value)),
            key=lambda trial: trial.value,
            default=None,
        ),
        failures=failures,
        findings=[(trial.number, finding) for trial in complete for finding in trial.findings],
        scenes=count_locked_scenes(store.engine, record.study_id),
        noise=find_noise(record, list_sibling_runs(store, record, "replicates")) if is_search else None,
        arms=() if is_search else tuple(group_arms(list_runs(store, record)).values()),
        workers=tuple(worker for worker in list_workers(store.engine) if worker.study == record.name),
    )


def _summarise_trial(trial: StoredTrial, own_size_px: int) -> TrialSummary:
    if trial.value is None:
        raise ValueError(f"trial {trial.number} is complete without a value")
    record = TrialRecord.from_attributes(trial.user_attrs)
    return TrialSummary(
        number=trial.number,
        value=trial.value,
        parameters=record.read_parameters(own_size_px),
        seconds=record.spent_s,
        scorer=record.scorer or "",
        reference=record.reference,
        peak_memory_mib=record.peak_memory_mib,
        findings=record.read_findings(),
    )


def to_json(summary: StudySummary) -> dict[str, Any]:
    """Return the `study show --json` object (schema 1)."""
    record = summary.record

    def brief(trial: TrialSummary | None) -> dict[str, Any] | None:
        return None if trial is None else {"number": trial.number, "value": trial.value}

    def show(parameters: Parameters | None) -> dict[str, Any]:
        return {} if parameters is None else {**parameters.to_json(), "alpha": parameters.alpha}

    best, noise = summary.best, summary.noise
    locked = summary.images.get("locked", 0)
    return {
        "schema": 1,
        **describe_usage(record, summary.usage, summary.set_state),
        "state_reason": summary.set_state.reason,
        "references": {name: brief(trial) for name, trial in summary.references.items()},
        "best": None
        if best is None
        else {
            "number": best.number,
            "value": best.value,
            "params": show(best.parameters),
            "seconds": best.seconds,
            "scorer": best.scorer,
            "reference": best.reference,
            "peak_memory_mib": best.peak_memory_mib,
        },
        "noise": None
        if noise is None
        else {
            "reference": noise.reference,
            "scorer": noise.scorer,
            "values": list(noise.floor.values),
            "sd": noise.floor.sd,
            "least_difference": noise.floor.least_difference,
        },
        "arms": {
            arm.name: {"planned": len(arm.runs), "complete": len(arm.done), "failed": len(arm.failed)}
            for arm in summary.arms
        },
        "split": {
            "lock": record.lock,
            "search_images": summary.images.get("search", 0),
            "lock_images": locked,
            "hash": record.split_sha256,
        },
        "backbone": {
            "name": record.spec.backbone.name,
            "weights": record.spec.backbone.weights,
            "sha256": record.weights_sha256,
        },
        "data": record.data_dir,
        "failures": [
            {
                "number": failure.number,
                "outcome": failure.outcome,
                "message": failure.message,
                "params": show(failure.parameters),
            }
            for failure in summary.failures
        ],
        "findings": [{"number": number, **vars(finding)} for number, finding in summary.findings],
    }


@dataclass(frozen=True)
class ResultRow:
    """One line of the results table, in the shape of the first experiment's."""

    category: str
    frozen: str
    heads: str | None  # None where the spec has no such reference
    v1_1: str
    v1_2: str
    best: str
    change: str
    noise: str  # the least difference of a single trial that counts
    setting: str  # rank / alpha / epochs, and the image size where it is searched
    mix: str  # texture / structural / contextual, percent
    scorer: str
    seconds: str


def tabulate(summaries: Sequence[StudySummary]) -> list[ResultRow]:
    """Return a row a study: category, frozen, v1.1, v1.2 or `= v1.1`, best, its change against the baseline."""
    return [_to_row(summary) for summary in summaries]


def _to_row(summary: StudySummary) -> ResultRow:
    best, baseline = summary.best, summary.references.get(name_baseline(summary.record))
    change = "-"
    if best and baseline and not baseline.is_unsound:
        gain = best.value - baseline.value
        is_noise = summary.noise is not None and abs(gain) < summary.noise.floor.least_difference
        change = "none" if gain == 0 else f"{gain:+.4f}{' (noise)' if is_noise else ''}"
    setting = describe_setting(best.parameters, summary.record.spec.search.space) if best else "-"
    mix = describe_mix(best.parameters) if best and best.parameters else "-"

    def show(name: str) -> str:
        if name in summary.same_as:
            return f"= {summary.same_as[name]}"
        trial = summary.references.get(name)
        if trial is None:
            return "-"
        return "unsound" if trial.is_unsound else f"{trial.value:.4f}"

    return ResultRow(
        category=summary.record.category,
        frozen=show(FROZEN),
        heads=show(HEADS) if HEADS in summary.references else None,
        v1_1=show("v1.1"),
        v1_2=show("v1.2"),
        best=f"{best.value:.4f}" if best else "-",
        change=change,
        noise=show_noise(summary.noise),
        setting=setting,
        mix=mix,
        scorer=best.scorer if best else "-",
        seconds=f"{best.seconds:.1f}" if best else "-",
    )
