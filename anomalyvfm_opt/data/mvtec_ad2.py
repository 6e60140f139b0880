"""The layout of MVTec AD 2: train/good, validation/good and test_public/{good,bad,ground_truth/bad}."""

from pathlib import Path

from anomalyvfm_opt.data.folders import GROUND_TRUTH, TEST_PUBLIC, Folders


def _is_own(base: Path) -> bool:
    return (base / TEST_PUBLIC).is_dir()


MVTEC_AD2 = Folders(
    name="MVTec AD 2",
    expected=(
        "<category>/train/good, <category>/validation/good and <category>/test_public/{good,bad},"
        " masks in test_public/ground_truth/bad (MVTec AD 2)"
    ),
    test=TEST_PUBLIC,
    masks=f"{TEST_PUBLIC}/{GROUND_TRUTH}",
    has_kinds=False,
    is_own=_is_own,
    unlabelled=("test_private", "test_private_mixed"),
)
