"""Create the studies of a spec: look at every image first, then write."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from anomalyvfm_opt.bench.backbones import Backbones
from anomalyvfm_opt.bench.workbench import check_tiles
from anomalyvfm_opt.data.arrays import ArrayStore, open_arrays
from anomalyvfm_opt.data.decoded import load_images, load_masks
from anomalyvfm_opt.data.geometry import Geometry, choose_geometry
from anomalyvfm_opt.data.layout import ImageRecord
from anomalyvfm_opt.data.records import BAD, GOOD
from anomalyvfm_opt.data.split import (
    Split,
    content_hashes,
    count_scenes,
    mask_hashes,
    masks_hash,
    split_hash,
)
from anomalyvfm_opt.files import expand_home
from anomalyvfm_opt.inference.thresholds import USUAL_SHARE, describe_lack, find_rank
from anomalyvfm_opt.model.adapter import match_targets
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.offline_weights import find_caveat
from anomalyvfm_opt.report.resolution_text import describe_resolutions
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.study_name import StudyName
from anomalyvfm_opt.store.division import StoredImage
from anomalyvfm_opt.store.home import state_folder
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import NewStudy, create_study, load_study
from anomalyvfm_opt.study.preparation import choose_categories, divide_categories
from anomalyvfm_opt.trial.space import fix_parameters, list_distributions
from anomalyvfm_opt.verdict.resolution import resolve_studies
from anomalyvfm_opt.verdict.write_plans import plan_references
from anomalyvfm_opt.words import counted


def create_studies(
    store: Store,
    spec: Spec,
    data: Path,
    categories: Sequence[str],
    arrays: ArrayStore | None = None,
    weights: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> list[str]:
    """Create one study a category, with its references waiting first.

    Every category is read and every image decoded before the first study is written, so that a bad file
    leaves nothing half-made.

    Args:
        store: the study store.
        spec: what to search.
        data: folder of categories.
        categories: a choice among the spec's; empty for all.
        arrays: where decoded images are kept; None for the host's store with its default bound.
        weights: a file with the backbone's weights; None for what the spec says.
        say: takes what there is to say for people, a line each.

    Returns:
        The names of the studies.
    """
    root = expand_home(data).resolve()
    splits = divide_categories(spec, root, categories)
    backbones = Backbones(torch.device("cpu"), weights)
    backbone = _open_backbone(backbones, spec)
    arrays = arrays or open_arrays(state_folder())
    for split in splits.values():
        for sized in map(spec.at_size, spec.image_sizes_px):
            geometry = choose_geometry(sized.data, split.fit)
            check_tiles(backbones.open(sized), geometry)
            _decode_all(arrays, split, geometry)
    judged = len(choose_categories(spec, root, []))  # also if only some of them get a study now
    names = []
    for name, split in splits.items():
        new = _prepare(spec, name, root, split, backbone.weights_sha256, judged)
        is_new = create_study(store, new, _list_references(spec, name))
        study = load_study(store.engine, new.name)
        if spec.verdict.noise_seeds:
            plan_references(store, study, spec.verdict.noise_seeds)
        _announce(study.name, new, split, is_new, say)
        names.append(study.name)
    _announce_resolution(spec, splits, judged, say)
    _announce_promise(splits, say)
    if backbone.is_random:
        say(f"RANDOM WEIGHTS: {spec.backbone.name} learned nothing; use this for tests only")
    if caveat := find_caveat(spec.backbone.name, spec.backbone.weights):
        say(f"OFFLINE WEIGHTS: {caveat}")
    return names


def _open_backbone(backbones: Backbones, spec: Spec) -> Backbone:
    """Load the weights now, so that a mistake shows here and not in a worker."""
    backbone = backbones.open(spec)
    for targets in spec.search.space.targets:
        match_targets(backbone, targets, "all")
    return backbone


def _decode_all(arrays: ArrayStore, split: Split, geometry: Geometry) -> None:
    for records in split.roles.values():
        if records:
            load_images(arrays, records, geometry)
    load_masks(arrays, (*split.search, *split.locked), geometry)


def _prepare(spec: Spec, category: str, root: Path, split: Split, weights_sha256: str, judged: int) -> NewStudy:
    roles = split.roles
    everything = [record for records in roles.values() for record in records]
    hashes, masks = content_hashes(everything), mask_hashes(everything)

    def store(role: str, r: ImageRecord) -> StoredImage:
        return StoredImage(r.key, role, r.label, r.scene_id, r.light, hashes[r.key], masks.get(r.key))

    return NewStudy(
        spec=spec,
        category=category,
        data_dir=str(root),
        split_sha256=split_hash(split, hashes),
        weights_sha256=weights_sha256,
        images=tuple(store(role, record) for role, records in roles.items() for record in records),
        masks_sha256=masks_hash(masks),
        judged=judged,
    )


def _list_references(spec: Spec, category: str) -> dict[str, dict[str, Any] | None]:
    """Return the references to run, with what to enqueue: None where the sampler could not have suggested it."""
    distributions = list_distributions(spec.search.space)
    return {
        name: fix_parameters(spec.reference(name, category), distributions)
        for name, run_as in spec.references_run(category).items()
        if name == run_as
    }


def _announce(name: str, new: NewStudy, split: Split, is_new: bool, say: Callable[[str], None]) -> None:
    state = "created" if is_new else "is there already, unchanged"
    say(
        f"{name} {state}: {counted(new.spec.search.trials, 'trial')};"
        f" {counted(len(split.fit), 'normal image')} to train on, {len(split.held_out)} held out,"
        f" {len(split.search)} to search on, {len(split.locked)} locked"
    )
    if is_new and new.spec.verdict.noise_seeds:
        replicates = StudyName(new.spec.name, new.category, "replicates")
        say(f"{replicates}: {counted(new.spec.verdict.noise_seeds, 'more seed')} of the baseline: the noise floor")
    if copies := _count_copies(new.images):
        say(
            f"warning: {new.category} has copies of its own images ({copies}), which count twice, or are trained"
            f" and judged on; anomalyvfm-opt data check {new.data_dir} names them"
        )


def _count_copies(images: Sequence[StoredImage]) -> int:
    """Return how many files have the same bytes as another one; `data check` also finds other formats of them."""
    return sum(count - 1 for count in Counter(image.sha256 for image in images).values())


def _announce_resolution(spec: Spec, splits: Mapping[str, Split], judged: int, say: Callable[[str], None]) -> None:
    """Before hours are spent: what the locked images could show."""
    scenes = {
        name: (count_scenes(split.locked, GOOD), count_scenes(split.locked, BAD)) for name, split in splits.items()
    }
    terms = spec.verdict
    found = resolve_studies(
        scenes, judged, seeds=terms.seeds, min_gain=terms.min_gain, confidence=terms.confidence
    )
    for line in describe_resolutions(found):
        say(line)


def _announce_promise(splits: Mapping[str, Split], say: Callable[[str], None]) -> None:
    """Say where held-out scenes are too few for a threshold that keeps to the usual share of false positives."""
    scenes = {name: count_scenes(split.held_out, GOOD) for name, split in splits.items()}
    too_few = {name: count for name, count in scenes.items() if find_rank(count, USUAL_SHARE) is None}
    if too_few:
        fewest = min(too_few.values())
        say(
            f"note: detectors made of {', '.join(too_few)} will give no verdicts by themselves:"
            f" {describe_lack(fewest, USUAL_SHARE)}"
        )
