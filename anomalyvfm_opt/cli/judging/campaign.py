"""The confirmation of several studies at once, and what is said of it."""

from pathlib import Path

import typer

from anomalyvfm_opt.cli.fleet.run import run_fleet
from anomalyvfm_opt.cli.fleet.slots import lay_out
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.selection import select_studies
from anomalyvfm_opt.cli.store import Store
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.siblings import find_sibling
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.study_state import read_state
from anomalyvfm_opt.trial.budget import count_usage
from anomalyvfm_opt.verdict.confirm import Confirmation, Stage, Wishes

_DOING = {"replicating": "replicates", "confirming": "confirm"}


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

    def advance(self) -> bool:
        """One step of each study; whether trainings are still to be done.

        Raises:
            EnvironmentMissingError: a search is not over.
            UsageError: nothing can be confirmed, or a wish contradicts what is written down.
        """
        for study in self._studies:
            stage = Confirmation(self._store.storage, self._store.engine, study).advance(self._wishes[study.name])
            if stage.name == "searching":
                raise EnvironmentMissingError(
                    f"the search of {study.name} is not over: {stage.open} of {study.budget} trials to go",
                    f"let workers finish it, or end it as it is: anomalyvfm-opt study stop {study.name}",
                )
            if stage.round:
                self._wishes[study.name] = Wishes()
            self._announce(study, stage)
            self._stages[study.name] = stage
        return any(stage.open for stage in self._stages.values())

    def list_siblings(self) -> list[StudyRecord]:
        """Studies that have planned trainings, done or not."""
        found = [
            find_sibling(self._store.engine, study, kind)
            for study in self._studies
            for kind in ("replicates", "confirm")
        ]
        return [record for record in found if record is not None]

    def list_open(self) -> list[str]:
        """Names of the siblings whose trainings are waited for."""
        return [
            f"{name}#{_DOING[stage.name]}"
            for name, stage in self._stages.items()
            if stage.name in _DOING and stage.open
        ]

    def count_open(self) -> int:
        """Trainings that are waited for, of all siblings, by what the store says now."""
        usages = [count_usage(self._store.engine, record.study_id) for record in self.list_siblings()]
        return sum(usage.waiting + usage.running for usage in usages)

    def _announce(self, study: StudyRecord, stage: Stage) -> None:
        last = self._stages.get(study.name)
        if last is not None and (last.name, last.open) == (stage.name, stage.open):
            return
        sibling = f"{study.name}#{_DOING.get(stage.name, 'confirm')}"
        if stage.name == "done":
            say(f"{study.name}: round {stage.round} of its confirmation is done")
        elif last is None or last.name != stage.name:
            what = (
                "on search data" if stage.name == "replicating" else f"round {stage.round}, on the locked images"
            )
            say(
                f"{sibling}: {stage.open} training{'' if stage.open == 1 else 's'} to do ({what}):"
                f" anomalyvfm-opt worker run --study {self._name}"
            )
        else:
            say(f"{sibling}: {stage.open} to go")
        record = next((one for one in self.list_siblings() if one.name == sibling), None)
        state = None if record is None or not stage.open else read_state(self._store.engine, record.study_id)
        if state is not None and state.name != "active":
            say(f"{sibling} is {state.name} ({state.reason}): anomalyvfm-opt study resume {sibling}")


def carry_out(
    store: Store,
    campaign: Campaign,
    count: int,
    device: str = "auto",
    data: Path | None = None,
    weights: Path | None = None,
) -> None:
    """Run workers on this host until the trainings that are planned now are done.

    Raises:
        typer.Exit: with the workers' exit code, if that is not 0.
        EnvironmentMissingError: they ended and left the trainings alone.
    """
    slots, arguments = lay_out(count, device)
    arguments += ["--db", store.url]
    for option, path in (("--data", data), ("--weights", weights)):
        arguments += [option, str(path)] if path else []
    for study in campaign.list_open():
        arguments += ["--study", study]
    before = campaign.count_open()
    exit_code = run_fleet(store, campaign.list_siblings, slots, arguments)
    if exit_code:
        raise typer.Exit(exit_code)
    if campaign.count_open() == before:
        raise EnvironmentMissingError(
            f"the workers ended, and {before} trainings are still to be done",
            "their messages above say why; a confirmation that was begun on another kind of device ends there",
        )
