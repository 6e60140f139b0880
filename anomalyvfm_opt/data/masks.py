"""Which mask belongs to which image: `<stem>_mask`, or else `<stem>`, whatever the suffixes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from anomalyvfm_opt.data.entries import get_stem
from anomalyvfm_opt.data.records import ImageRecord

_END = "_mask"


def pair(images: Sequence[Path], masks: Sequence[Path]) -> dict[Path, Path]:
    """Image -> its mask, for those that have one; of several masks the first by name."""
    by_stem = {get_stem(mask): mask for mask in sorted(masks, reverse=True)}
    stems = {get_stem(image) for image in images}
    pairs = {}
    for image in images:
        stem = get_stem(image)
        found = by_stem.get(stem + _END)
        if found is None and stem.removesuffix(_END) not in stems - {stem}:  # `a_mask` is the mask of `a`
            found = by_stem.get(stem)
        if found is not None:
            pairs[image] = found
    return pairs


def find_shared(records: Iterable[ImageRecord]) -> list[str]:
    """Return one line for each mask that two images could mean."""
    owners = defaultdict(list)
    for record in records:
        if record.mask is not None:
            owners[record.mask].append(record.path)
    return [
        f"{mask} could be the mask of {_enumerate(paths)}: give them different names"
        for mask, paths in owners.items()
        if len(paths) > 1
    ]


def find_namesakes(records: Iterable[ImageRecord]) -> list[str]:
    """List, a line each, images without mask whose names differ in nothing that counts: perhaps one photograph."""
    groups = defaultdict(list)
    for record in records:
        if record.mask is None:
            groups[record.path.parent, get_stem(record.path)].append(record.path)
    return [
        f"{_enumerate(paths)} differ in {_name_difference(paths)} alone: give them different names"
        for paths in groups.values()
        if len(paths) > 1
    ]


def _name_difference(paths: Sequence[Path]) -> str:
    is_same_suffix = len({path.suffix for path in paths}) == 1
    return "the Unicode form of their names" if is_same_suffix else "their suffix"


def find_spare(images: Sequence[Path], masks: Sequence[Path]) -> list[str]:
    """Return one line for each mask that is not read."""
    pairs = pair(images, masks)
    owners = {get_stem(image): image for image in images}
    lines = []
    for mask in masks:
        if mask in pairs.values():
            continue
        owner = owners.get(get_stem(mask).removesuffix(_END)) or owners.get(get_stem(mask))
        taken = (
            f"is not read: {pairs[owner]} is the mask of {owner}" if owner in pairs else "is the mask of no image"
        )
        lines.append(f"{mask} {taken}")
    return lines


def _enumerate(paths: Sequence[Path]) -> str:
    return " and ".join(map(str, paths))
