"""Looks at locked images: written before they are scored, counted by content, and never taken back."""

from dataclasses import replace

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.report.verdict_doubts import list_doubts
from anomalyvfm_opt.store.looks import Opening, list_openings, list_searches_on_locked
from anomalyvfm_opt.store.siblings import plan_trials
from anomalyvfm_opt.store.studies import NewStudy, create_study, delete_study, load_study
from anomalyvfm_opt.trial.loop import Turn
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.verdict.judge import judge
from anomalyvfm_opt.verdict.read_case import read_case
from anomalyvfm_opt.verdict.read_ledger import predict
from tests.integration.families import Families, Family, make_images, plan_looks, plan_some
from tests.integration.trial_states import expire_leases, run_to_end


class Killed(BaseException):
    """The process is no more."""


def count_openings(family: Family) -> list[Opening]:
    return list_openings(family.engine, family.bench.record.study_id)


def test_a_look_is_written_before_the_images_are_scored(family: Family) -> None:
    seen: list[int] = []

    def run(request: TrialRequest, progress: Progress) -> TrialResult:
        assert request.look is not None
        seen.append(len(family.look_rows()))
        request.look.write_down()
        seen.append(len(family.look_rows()))
        return family.trainings.run(
            replace(request, look=replace(request.look, write_down=lambda: None)), progress
        )

    plan_looks(family)
    run_to_end(family.sibling("confirm").loop(run, worker="the looker"))
    assert seen == [0, 1]
    (look,) = family.look_rows()
    assert (look.round, look.arm, look.seed, look.trial_number, look.worker) == (1, "finalist", 1, 0, "the looker")
    images = family.ask(
        f"SELECT image_sha256 FROM anomalyvfm_opt.look_image WHERE lock_sha256 = '{look.lock_sha256}'"  # noqa: S608
    )
    locked = {image.sha256 for image in make_images(family.name) if image.role == "locked"}
    assert {row.image_sha256 for row in images} == locked


def test_only_a_confirmation_has_a_look(family: Family) -> None:
    family.search()
    trials = plan_some("v1.1", 2)
    plan_trials(family.store, family.bench.record, "replicates", trials)
    family.work("replicates")
    assert len(family.trainings.ran) == 8
    assert all(request.look is None for request in family.trainings.ran)
    assert family.look_rows() == count_openings(family) == []


@pytest.mark.parametrize(("kind", "scorer"), [("replicates", "patch_knn"), ("confirm", None)])
def test_a_trial_in_the_wrong_sibling_is_not_run(store: Families, kind: str, scorer: str | None) -> None:
    """A scorer among replicates would be a way to the lock; without one in `#confirm`, nobody chose it."""
    family = store.found(f"wrong-{kind}")
    trials = plan_some("finalist", 1, scorer=scorer)
    plan_trials(family.store, family.bench.record, kind, trials)  # type: ignore[arg-type]
    bench = family.sibling(kind)  # type: ignore[arg-type]
    assert bench.loop(family.trainings.run).take_turn() is Turn.RAN
    (trial,) = bench.study().get_trials()
    assert (trial.state.name, trial.constraints) == ("PRUNED", {"outside_space": 1.0})
    assert family.trainings.ran == []
    assert family.look_rows() == []


def test_a_retry_after_a_kill_is_a_second_row_and_the_same_opening(family: Family) -> None:
    def look_and_die(request: TrialRequest, _progress: Progress) -> TrialResult:
        assert request.look is not None
        request.look.write_down()
        raise Killed

    plan_looks(family)
    bench = family.sibling("confirm")
    with pytest.raises(Killed):
        bench.loop(look_and_die).take_turn()
    first = family.look_rows()
    expire_leases(bench)
    family.work("confirm")
    looks = family.look_rows()
    assert looks[:1] == first
    assert [look.trial_number for look in looks] == [0, 1]
    assert {(look.arm, look.seed) for look in looks} == {("finalist", 1)}
    assert count_openings(family) == [Opening(f"{family.name}#confirm", 1, 2)]


def test_openings_of_shared_images_are_counted_whoever_opened_them(store: Families) -> None:
    ours, others, strangers = (
        store.found("ours", images="shared"),
        store.found("others", images="shared", category="tile2"),
        store.found("strangers"),
    )
    for family in (others, strangers):
        plan_looks(family, 3)
        family.work("confirm")
    found = [Opening("others/tile2#confirm", 1, 3)]
    assert count_openings(ours) == count_openings(others) == found
    delete_study(others.store, others.name)
    assert count_openings(ours) == found
    plan_looks(ours, 2)
    ours.work("confirm")
    assert count_openings(ours) == [*found, Opening("ours/tile#confirm", 1, 2)]
    assert count_openings(strangers) == [Opening("strangers/tile#confirm", 1, 3)]


def test_one_shared_image_is_enough(store: Families) -> None:
    others = store.found("mostly-others")
    plan_looks(others, 1)
    others.work("confirm")
    locked = next(image for image in make_images(others.name) if image.role == "locked")
    mine = [replace(image, image_key=f"my {image.image_key}") for image in make_images("mostly mine")]
    ours = _create(store, others, "mostly-ours", (*mine, locked))
    assert count_openings(ours) == [Opening("mostly-others/tile#confirm", 1, 1)]


def test_searches_on_what_is_locked_here_are_found(store: Families) -> None:
    searched = store.found("searched", images="the same")
    trials = plan_some("v1.1", 1)
    plan_trials(store, searched.bench.record, "replicates", trials)  # counts with its family
    ours = _create(store, searched, "late-lock", make_images("the same", swapped=True))
    found = list_searches_on_locked(store.engine, ours.bench.record.study_id)
    assert found == {"searched/tile": 24}
    assert list_searches_on_locked(store.engine, store.found("apart").bench.record.study_id) == {}


def test_a_study_that_is_made_anew_has_not_forgotten_that_its_lock_was_opened(store: Families) -> None:
    """Found here: its confirmation was round 1 again, with the same seeds, and counted as the first look."""
    for is_again in (False, True):
        family = store.found("anew")
        if is_again:
            with pytest.raises(UsageError, match="have been opened"):
                predict(family.engine, family.bench.record, 0.1, "")
        family.search()
        family.confirm()
        seeds = {run.planned.seed for run in family.runs("confirm")}
        verdict = judge(read_case(store, family.bench.record))
        if not is_again:
            first = seeds
            delete_study(store, family.name)
    assert first.isdisjoint(seeds)
    name = "anew/tile#confirm"
    assert list(verdict.openings) == [Opening(name, 1, 9), Opening(name, 2, 9)]
    doubts = "\n".join(list_doubts([verdict]))
    assert "LOOKED AT 2 TIMES" in doubts
    assert f"also {name} round 1)" in doubts
    assert "this is confirmation 2 of 2" in doubts


def _create(store: Families, like: Family, name: str, images: tuple[object, ...]) -> Family:
    """A study of other images."""
    spec = like.bench.record.spec.model_copy(update={"name": name})
    new = NewStudy(spec, "tile", "/data", "split", "weights", images)  # type: ignore[arg-type]
    create_study(store, new, {"frozen": None})
    return replace(like, bench=replace(like.bench, record=load_study(store.engine, new.name)))
