"""From a trial to a folder that stands alone, which proves itself before it gets its name."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomalyvfm_opt.delivery.choice import Choice, Wanted, choose_trial
from anomalyvfm_opt.delivery.graph import add_graph
from anomalyvfm_opt.delivery.origin import describe_origin
from anomalyvfm_opt.delivery.rebuild import Rebuilt, Workplace, prepare_bench, rebuilt
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.evaluation.exam import Exam
from anomalyvfm_opt.inference.card import Card
from anomalyvfm_opt.inference.folder import created_whole, refuse_taken, write_card
from anomalyvfm_opt.inference.graph_file import refuse_without_graph, require_exporter
from anomalyvfm_opt.inference.scoring import choose_map_scorer
from anomalyvfm_opt.inference.selftest import Agreement, check_detector, compare, list_minuends
from anomalyvfm_opt.inference.standalone import StandaloneDetector
from anomalyvfm_opt.inference.tensors import pack_tensors
from anomalyvfm_opt.inference.writing import Contents, write_detector
from anomalyvfm_opt.model.device import name_device
from anomalyvfm_opt.model.weights import KEYWORDS
from anomalyvfm_opt.store.scores import read_metrics, read_scores
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be delivered, and how.

    Args:
        folder: where, under a name that is not taken.
        wanted: which trial, see `choose_trial`.
        scorer: that scores are given by; None for the trial's.
        false_positives: the share that thresholds promise, 0-1.
        with_backbone: whether the backbone's weights are put in.
        with_graph: whether `detector.onnx` is put in.
        weights: a file with them; None for what the spec says.
        device: that everything is computed on.
    """

    folder: Path
    wanted: Wanted
    scorer: str | None
    false_positives: float
    with_backbone: bool
    with_graph: bool
    weights: Path | None
    device: str


@dataclass(frozen=True)
class Delivered:
    """What was written, and how close its scores are to the stored ones."""

    card: Card
    choice: Choice
    agreement: Agreement


def deliver(
    store: Store, study: StudyRecord, order: Order, place: Workplace, say: Callable[[str], None]
) -> Delivered:
    """Write the folder of a trial's detector, load it again, and compare its scores with those of the trial.

    Raises:
        UsageError: no such trial or scorer, something of the folder's name is there, or the graph that is wanted
            cannot be.
        EnvironmentMissingError: scores differ, or images, weights, files, libraries or room on the disk are not
            there.
    """
    refuse_taken(order.folder)
    choice = choose_trial(store, study, order.wanted, order.scorer)
    if order.with_graph:
        has_heads = choice.parameters is not None
        refuse_without_graph(choice.scorer, choose_map_scorer(choice.scorer, has_heads), has_heads)
        require_exporter()
    say(f"{study.name}: trial {choice.trial.number}, {choice.reason}; scores by {choice.scorer}")
    with _with_threads(choice.record.threads):
        return _write_and_prove(store, study, choice, order, place, say)


@contextmanager
def _with_threads(threads: int | None) -> Iterator[None]:
    """Compute with the trial's number of CPU threads for the length of a `with`."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write_and_prove(
    store: Store, study: StudyRecord, choice: Choice, order: Order, place: Workplace, say: Callable[[str], None]
) -> Delivered:
    bench, split = prepare_bench(store, study, choice, place)
    weights = pack_tensors(bench.backbone.network.state_dict()) if order.with_backbone else None
    with created_whole(order.folder) as part:
        with rebuilt(store, study, choice, bench, split, place, order.false_positives) as made:
            exam = made.exam
            provenance = describe_origin(store, study, choice, bench.split_sha256)
            contents = _collect(made, choice, provenance, weights)
            card = write_detector(part, contents, made.batch)
        stored = _read_stored(store, study, choice, exam)
        agreement = _prove(study, choice, exam, stored, part, order)
        proved = card.model_copy(update={"proof": _describe_proof(agreement)})
        if order.with_graph:
            proved = add_graph(part, proved, exam, stored[choice.scorer], find_weights(study, order), say)
        write_card(part, proved)
    return Delivered(proved, choice, agreement)


def _collect(made: Rebuilt, choice: Choice, provenance: Mapping[str, Any], backbone: bytes | None) -> Contents:
    return Contents(
        detector=made.detector,
        bank=made.bank,
        scorer=choice.scorer,
        map_scorer=made.map_scorer,
        normal=made.normal,
        thresholds=made.thresholds,
        frames=made.exam.images,
        scores=made.scores,
        provenance=provenance,
        backbone=backbone,
    )


def _prove(
    study: StudyRecord, choice: Choice, exam: Exam, wanted: dict[str, np.ndarray], part: Path, order: Order
) -> Agreement:
    """Score the exam by the folder alone, and compare with what the trial stored."""
    with StandaloneDetector(part, weights=find_weights(study, order), device=order.device) as detector:
        found = detector.score_frames(exam.images).image
        here = name_device(detector.device)
        agreement = compare(
            wanted, found, list(exam.keys), here == choice.record.device, list_minuends(detector, found)
        )
        tested = check_detector(detector)
    if not agreement.is_close:
        where = "" if agreement.is_same_device else f" (the trial ran on {choice.record.device}, this is {here})"
        raise EnvironmentMissingError(
            f"the detector of trial {choice.trial.number} does not give here the scores that the trial stored"
            f"{where}: {agreement.describe()}; nothing is written",
            "export it where the trial ran, or with the versions that it ran with: anomalyvfm-opt doctor",
        )
    if not tested.is_close:
        raise EnvironmentMissingError(
            f"the detector does not give the same scores twice here: {tested.describe()}; nothing is written",
            "use another device: --device cpu",
        )
    return agreement


def find_weights(study: StudyRecord, order: Order) -> Path | None:
    """Return the file with the backbone's weights; None where the folder or a keyword tells where they are."""
    if order.with_backbone:
        return None
    stored = study.spec.backbone.weights
    return order.weights or (None if stored in KEYWORDS else Path(stored))


def _read_stored(store: Store, study: StudyRecord, choice: Choice, exam: Exam) -> dict[str, np.ndarray]:
    """Return the scores that the trial stored: scorer -> float64 (n,), in the order of the exam."""
    trial_id = choice.trial.trial_id
    stored = {name: read_scores(store.engine, trial_id, name) for name in read_metrics(store.engine, trial_id)}
    complete = {name: scores for name, scores in stored.items() if scores.keys() == set(exam.keys)}
    if choice.scorer not in complete:
        raise EnvironmentMissingError(
            f"trial {choice.trial.number} of {study.name} has no stored scores of these images by {choice.scorer},"
            " so nothing proves its detector",
            "name another trial: --trial N",
        )
    return {name: np.array([scores[key][1] for key in exam.keys]) for name, scores in complete.items()}


def _describe_proof(agreement: Agreement) -> dict[str, Any]:
    return {
        "images": agreement.images,
        "largest_difference": agreement.difference,
        "by": agreement.scorer,
        "allowed": agreement.allowed,
        "same_kind_of_device": agreement.is_same_device,
    }
