"""From a spec's studies to the detectors of a submission: one of each category, each proved."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from anomalyvfm_opt.delivery.choice import choose_trial
from anomalyvfm_opt.delivery.deliver import Order, deliver
from anomalyvfm_opt.delivery.rebuild import Workplace
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.inference.folder import explained_write
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord


def match_studies(
    store: Store, studies: Sequence[StudyRecord], order: Order, wanted: Collection[str]
) -> list[StudyRecord]:
    """Return the study of each category, after seeing that each has a trial to deliver.

    Args:
        store: the study store.
        studies: of one spec.
        order: which trial is to be delivered, and by which scorer.
        wanted: categories that each must have a study, and no other may.

    Raises:
        UsageError: a category lacks a study or a trial, or a study is of another category.
    """
    spec = studies[0].spec.name
    by_category = {study.category: study for study in studies}
    missing = [category for category in wanted if category not in by_category]
    if missing:
        raise UsageError(
            f"{spec} has no study of {', '.join(missing)}, and the server takes all of {', '.join(wanted)}",
            f"create what is missing: anomalyvfm-opt study create SPEC --category {missing[0]} --data DIR",
        )
    strange = sorted(by_category.keys() - set(wanted))
    if strange:
        raise UsageError(
            f"{by_category[strange[0]].name} is no category of MVTec AD 2", f"it has {', '.join(wanted)}"
        )
    for category in wanted:
        choose_trial(store, by_category[category], order.wanted, order.scorer)
    return [by_category[category] for category in wanted]


def deliver_all(
    store: Store,
    studies: Sequence[StudyRecord],
    order: Order,
    place: Workplace,
    say: Callable[[str], None],
) -> dict[str, Path]:
    """Deliver the detector of each study.

    Args:
        store: the study store.
        studies: one a category.
        order: for all of them; its folder is one to make, and holds theirs.
        place: what this host has.
        say: takes a line about what is done.

    Returns:
        The folder of each category's detector.

    Raises:
        UsageError: a study has no such trial or scorer.
        EnvironmentMissingError: scores differ, or images, weights, files or room on the disk are not there.
    """
    with explained_write(order.folder):
        order.folder.mkdir()
    folders = {}
    for study in studies:
        folders[study.category] = order.folder / study.category
        deliver(store, study, replace(order, folder=folders[study.category]), place, say)
    return folders
