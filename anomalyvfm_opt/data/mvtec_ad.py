"""The layout of MVTec AD, a folder for each kind of defect, and the plain one, `bad` for all of them."""

from pathlib import Path

from anomalyvfm_opt.data.entries import list_images, list_subfolders
from anomalyvfm_opt.data.folders import GROUND_TRUTH, TEST, Folders
from anomalyvfm_opt.data.records import BAD, GOOD


def _has_kinds(base: Path) -> bool:
    """Return whether there are images or masks of a kind of defect that is not just called `bad`."""
    folders = [*list_subfolders(base / TEST), *list_subfolders(base / GROUND_TRUTH)]
    return any(list_images(folder) for folder in folders if folder.name not in (GOOD, BAD))


def _is_any(_base: Path) -> bool:
    return True


MVTEC_AD = Folders(
    name="MVTec AD",
    expected=(
        "<category>/train/good and <category>/test/{good,<defect>,...},"
        " masks, if any, in ground_truth/<defect> (MVTec AD)"
    ),
    test=TEST,
    masks=GROUND_TRUTH,
    has_kinds=True,
    is_own=_has_kinds,
)

PLAIN = Folders(
    name="plain folders",
    expected=(
        "<category>/train/good and <category>/test/{good,bad}, masks, if any, in ground_truth/bad (plain folders)"
    ),
    test=TEST,
    masks=GROUND_TRUTH,
    has_kinds=False,
    is_own=_is_any,
)
