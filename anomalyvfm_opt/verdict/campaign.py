"""The confirmation of several studies at once, step by step, with its events."""

from collections.abc import Iterator

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.spec.study_name import Kind
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.selection import select_studies
from anomalyvfm_opt.store.siblings import find_sibling
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.study_state import read_state
from anomalyvfm_opt.verdict.confirm import advance
from anomalyvfm_opt.verdict.next_step import Stage, Wishes
from anomalyvfm_opt.words import counted

_DOING: dict[str, Kind] = {"replicating": "replicates", "confirming": "confirm"}


class Campaign:
    """Takes the confirmation of each study as far as it goes, again and again.

    Args:
        store: the study store.
        name: of a study, or of a spec for all of its studies.
        wishes: for each of them, until its plan is written down.

    Raises:
        UsageError: no such study, or a wish that fits one study only.
    """

    def __init__(self, store: Store, name: str, wishes: Wishes) -> None:
        self._store = store
        self._name = name
        self._studies = select_studies(store.engine, [name])
        for study in self._studies:
            if study.kind != "search":
                raise UsageError(f"{study.name} is a sibling study", f"confirm what it belongs to: {study.family}")
        if len(self._studies) > 1 and wishes.finalist is not None:
            raise UsageError(
                f"--finalist names a trial of one study, and {name!r} names {len(self._studies)}",
                f"one of {', '.join(study.name for study in self._studies)}",
            )
        self._wishes = {study.name: wishes for study in self._studies}
        self._stages: dict[str, Stage] = {}

    def advance(self) -> Iterator[str]:
        """Take each study one step further, and tell what has changed of it, a line each, before the next one.

        Raises:
            EnvironmentMissingError: a search is not over.
            UsageError: nothing can be confirmed, or a wish contradicts what is written down.
        """
        for study in self._studies:
            stage = advance(self._store, study, self._wishes[study.name])
            if stage.name == "searching":
                raise EnvironmentMissingError(
                    f"the search of {study.name} is not over:"
                    f" {stage.open} of {counted(study.budget, 'trial')} to go",
                    f"let workers finish it, or end it as it is: anomalyvfm-opt study stop {study.name}",
                )
            if stage.round:
                self._wishes[study.name] = Wishes()
            yield from self._describe(study, stage)
            self._stages[study.name] = stage

    @property
    def is_open(self) -> bool:
        """Whether trainings were still to be done after the last step."""
        return any(stage.open for stage in self._stages.values())

    def list_verdicts(self) -> list[str]:
        """Return what a verdict can be asked for: the spec where all categories have a study, else each study."""
        names = [study.name for study in self._studies]
        is_whole = len(names) >= max(study.judged or 0 for study in self._studies)
        return [self._name] if is_whole and self._name not in names else names

    def list_siblings(self) -> list[StudyRecord]:
        """Studies that have planned trainings, done or not."""
        found = [
            find_sibling(self._store.engine, study, kind)
            for study in self._studies
            for kind in ("replicates", "confirm")
        ]
        return [record for record in found if record is not None]

    def list_open(self) -> list[str]:
        """Return the names of the siblings whose trainings are waited for."""
        stages = [(study, self._stages.get(study.name)) for study in self._studies]
        return [
            study.name_sibling(_DOING[stage.name])
            for study, stage in stages
            if stage is not None and stage.name in _DOING and stage.open
        ]

    def count_open(self) -> int:
        """Trainings that are waited for, of all siblings, by what the store says now."""
        usages = [count_usage(self._store.engine, record.study_id) for record in self.list_siblings()]
        return sum(usage.waiting + usage.running for usage in usages)

    def _describe(self, study: StudyRecord, stage: Stage) -> Iterator[str]:
        """Say what has changed of a study since its last stage."""
        last = self._stages.get(study.name)
        if last is not None and (last.name, last.open) == (stage.name, stage.open):
            return
        sibling = study.name_sibling(_DOING.get(stage.name, "confirm"))
        if stage.name == "done":
            yield f"{study.name}: round {stage.round} of its confirmation is done"
        elif last is None or last.name != stage.name:
            what = (
                "on search data" if stage.name == "replicating" else f"round {stage.round}, on the locked images"
            )
            yield (
                f"{sibling}: {counted(stage.open, 'training')} to do ({what}):"
                f" anomalyvfm-opt worker run {self._name}"
            )
        else:
            yield f"{sibling}: {stage.open} to go"
        record = next((one for one in self.list_siblings() if one.name == sibling), None)
        state = None if record is None or not stage.open else read_state(self._store.engine, record.study_id)
        if state is not None and state.name != "active":
            yield f"{sibling} is {state.name} ({state.reason}): anomalyvfm-opt study resume {sibling}"
