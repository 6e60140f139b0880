"""The inspection of a submission names every fault, and nothing else."""

import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.inference.submission.archive import name_archive, pack_archive
from anomalyvfm_opt.inference.submission.inspection import inspect_submission
from anomalyvfm_opt.inference.submission.layout import IMAGES, list_places
from tests.unit.inference.submissions import (
    FEW,
    MAP,
    SIZE_PX,
    WANTED,
    put_map,
    put_value,
    write_submission,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damaged files

MASK = "anomaly_images_thresholded/vial/test_private_mixed/000_mixed.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_submission(tmp_path / "mine")


def put_mask(pixels: np.ndarray, kind: str = "PNG") -> Callable[[Path], object]:
    return lambda root: Image.fromarray(pixels).save(root / MASK, format=kind)


def test_official_numbers_of_files() -> None:
    places = list_places()
    assert len(places) == 2 * sum(IMAGES.values()) == 4090
    assert len(IMAGES) == 8
    paths = {path for place in places for path in (place.map_path, place.mask_path)}
    assert len(paths) == 8180
    assert "anomaly_images/walnuts/test_private_mixed/227_mixed.tiff" in paths
    assert "anomaly_images_thresholded/sheet_metal/test_private/000_regular.png" in paths


def test_what_is_right_has_no_fault(root: Path) -> None:
    found = inspect_submission(root, WANTED)
    assert found.faults == ()
    assert found.maps == found.masks == {(name, s): n for name, n in FEW.items() for s in two_sets()}
    assert not found.has_archive


CHUNK = b"\0\0\0\2tRNS\0\0" + zlib.crc32(b"tRNS\0\0").to_bytes(4, "big")  # black is transparent


def change_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda root: (root / MASK).write_bytes(change((root / MASK).read_bytes()))


def two_sets() -> tuple[str, str]:
    return "test_private", "test_private_mixed"


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "map missing": (lambda root: (root / MAP).unlink(), f"{MAP}: missing"),
    "mask missing": (lambda root: (root / MASK).unlink(), f"{MASK}: missing"),
    "category missing": (
        lambda root: shutil.rmtree(root / "anomaly_images/vial"),
        "anomaly_images/vial: missing, with all that is in it",
    ),
    "set missing": (
        lambda root: shutil.rmtree(root / "anomaly_images/vial/test_private"),
        "anomaly_images/vial/test_private: missing, with all that is in it",
    ),
    "masks missing": (
        lambda root: shutil.rmtree(root / "anomaly_images_thresholded"),
        "anomaly_images_thresholded: missing, with all that is in it",
    ),
    "extra file": (lambda root: (root / "README.md").touch(), "README.md: file that does not belong here"),
    "hidden file": (
        lambda root: (root / "anomaly_images/can/.DS_Store").touch(),
        "anomaly_images/can/.DS_Store: file that does not belong here",
    ),
    "one too many": (
        lambda root: shutil.copy(root / MAP, (root / MAP).with_name("003_regular.tiff")),
        "anomaly_images/can/test_private/003_regular.tiff: file that does not belong here",
    ),
    "extra folder": (
        lambda root: (root / "anomaly_images/brick/below").mkdir(parents=True),
        "anomaly_images/brick: folder that does not belong here",
    ),
    "not a number": (put_value(np.nan), f"{MAP}: has 1 value not a number, and 0 infinite"),
    "overflow": (put_value(-np.inf), f"{MAP}: has 0 values not a number, and 1 infinite"),
    "map with more behind": (
        lambda root: (root / MAP).write_bytes((root / MAP).read_bytes() + b"PK"),
        f"{MAP}: has 2 bytes behind its end",
    ),
    "wrong size": (put_map(np.ones((9, 6), np.float16)), f"{MAP}: is 6x9 px, its image 9x6 px"),
    "wrong type": (
        lambda root: Image.fromarray(np.ones(SIZE_PX, np.float32)).save(root / MAP),
        f"{MAP}: is of type float32, wanted is float16",
    ),
    "cut map": (lambda root: os.truncate(root / MAP, 100), f"{MAP}: cannot be read: it is cut off or damaged"),
    "grey mask": (
        put_mask(np.full(SIZE_PX, 7, np.uint8)),
        f"{MASK}: has the value 7, wanted are 0 and 255 alone",
    ),
    "ones for masks": (put_mask(np.ones(SIZE_PX, np.uint8)), f"{MASK}: has the value 1, wanted are"),
    "coloured mask": (put_mask(np.zeros((*SIZE_PX, 3), np.uint8)), f"{MASK}: has pixels of mode RGB"),
    "mask of bits": (put_mask(np.zeros(SIZE_PX, bool)), f"{MASK}: has pixels of mode 1, wanted"),
    "mask of another size": (put_mask(np.zeros((3, 3), np.uint8)), f"{MASK}: is 3x3 px, its image 9x6 px"),
    "mask that is a JPEG": (put_mask(np.zeros(SIZE_PX, np.uint8), "JPEG"), f"{MASK}: cannot be read: no PNG"),
    "mask without its last bytes": (
        lambda root: os.truncate(root / MASK, (root / MASK).stat().st_size - 5),
        f"{MASK}: cannot be read: cut short",
    ),
    "mask with more behind": (change_bytes(lambda content: content + b"x"), f"{MASK}: has more behind its end"),
    "mask with another checksum": (
        change_bytes(lambda content: content[:-13] + bytes([content[-13] ^ 1]) + content[-12:]),
        f"{MASK}: cannot be read: ",
    ),
    "mask with transparency": (
        change_bytes(lambda content: content[:33] + CHUNK + content[33:]),
        f"{MASK}: has a chunk 'tRNS' that no thresholded map needs",
    ),
    "cut mask": (lambda root: os.truncate(root / MASK, 60), f"{MASK}: cannot be read: no PNG file, or damaged"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_path(root: Path, name: str) -> None:
    spoil, said = FAULTS[name]
    spoil(root)
    faults = inspect_submission(root, WANTED).faults
    assert len(faults) == 1
    assert faults[0].startswith(said)


@pytest.mark.parametrize("path", [MAP, "anomaly_images"])
def test_a_link_is_not_taken_for_what_it_leads_to(root: Path, tmp_path: Path, path: str) -> None:
    shutil.move(root / path, tmp_path / "elsewhere")
    (root / path).symlink_to(tmp_path / "elsewhere")
    assert inspect_submission(root, WANTED).faults == (f"{path}: link that does not belong here",)


def test_a_pipe_holds_nobody_up(root: Path) -> None:
    pack_archive(root, name_archive(root))
    (root / MAP).unlink()
    os.mkfifo(root / MAP)
    faults = inspect_submission(root, WANTED).faults
    assert f"{MAP}: cannot be read: it is a named pipe, not a plain file" in faults


def test_several_faults_are_all_named_and_the_rest_is_counted(root: Path) -> None:
    for name in ("not a number", "extra file", "grey mask", "set missing"):
        FAULTS[name][0](root)
    found = inspect_submission(root, WANTED)
    assert len(found.faults) == 4
    assert found.maps == {**found.maps, ("can", "test_private"): 2, ("vial", "test_private"): 0}
    assert found.masks["vial", "test_private_mixed"] == 1


def test_without_sizes_a_map_and_its_mask_are_compared(root: Path) -> None:
    unknown = dict.fromkeys(WANTED)
    assert inspect_submission(root, unknown).faults == ()
    FAULTS["mask of another size"][0](root)
    assert inspect_submission(root, unknown).faults == (f"{MASK}: is 3x3 px, its image 9x6 px",)


def test_a_submission_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        inspect_submission(tmp_path / "nowhere", WANTED)


def test_an_empty_folder_lacks_both_parts(tmp_path: Path) -> None:
    faults = inspect_submission(tmp_path, WANTED).faults
    assert [fault.split(":")[0] for fault in faults] == ["anomaly_images", "anomaly_images_thresholded"]


def test_a_folder_that_cannot_be_listed_is_an_error_of_the_disk(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(path: Path) -> object:
        if str(path).endswith("vial"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(EnvironmentMissingError, match="vial: Permission denied"):
        inspect_submission(root, WANTED)
