"""`submit`: from the studies of a spec to what the server takes, on a generated tree with its numbers of files."""

import json
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.inference.submission.layout import IMAGES, SETS
from anomalyvfm_opt.inference.submission.tiff import read_map
from tests.integration.program import Program, assert_one_error, finish, wait_for, write_spec

pytestmark = pytest.mark.slow

NOWHERE = {"ANOMALYVFM_OPT_DB_URL": "postgresql://nobody@127.0.0.1:9/nowhere", "ANOMALYVFM_OPT_HOME": "/nowhere"}
SIZE_PX = (20, 28)
OF_TWO_PAGES = Path("can/test_private/000_regular.png")
CHANGES: dict[str, Any] = {
    "data": {"lock": "all"},
    "backbone": {
        "name": "test_vit.r160_in1k",
        "weights": "random",
        "decoder_blocks": [-2],
        "patch_blocks": [-2, -1],
    },
    "references": ["frozen", "v1.1"],
    "search": {"trials": 2, "startup_trials": 1},
}


@dataclass(frozen=True)
class Submitted:
    """MVTec AD 2 in small, and a spec whose studies have run: `can` was trained, the others are frozen."""

    data: Path
    spec_file: Path
    name: str = "submitted"


def write_images(folder: Path, names: list[str], rng: np.random.Generator, spot: bool = False) -> None:
    folder.mkdir(parents=True)
    for name in names:
        pixels = rng.integers(90, 140, (*SIZE_PX, 3), dtype=np.uint8)
        if spot:
            pixels[6:12, 9:16] = 255
        Image.fromarray(pixels).save(folder / f"{name}.png")


def write_mvtec_ad_2(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for category, count in IMAGES.items():
        for part, images in (("train/good", 20), ("validation/good", 8), ("test_public/good", 4)):
            write_images(root / category / part, [f"{n:03}_regular" for n in range(images)], rng)
        write_images(root / category / "test_public/bad", [f"{n:03}_regular" for n in range(4)], rng, spot=True)
        for set_name, light in SETS.items():
            write_images(root / category / set_name, [f"{n:03}_{light}" for n in range(count)], rng)
    with Image.open(root / OF_TWO_PAGES) as image:
        image.save(root / OF_TWO_PAGES, save_all=True, append_images=[image.rotate(180)])
    return root


@pytest.fixture(scope="module")
def submitted(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Submitted:
    folder = tmp_path_factory.mktemp("mvtec")
    data = write_mvtec_ad_2(folder / "mvtec_ad_2")
    made = Submitted(data, write_spec(folder, "submitted", **CHANGES))
    created = program.run_here("study", "create", str(made.spec_file), "--data", str(data))
    assert created.returncode == 0, created.stderr
    for category in IMAGES:
        only_frozen = () if category == "can" else ("--max-trials", "1")
        run = ("worker", "run", "--study", f"submitted/{category}", "--threads", "1")
        done = program.run_here(*run, *only_frozen)
        assert done.returncode == 0, done.stderr
    return made


def list_left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_submission_is_whole_and_comes_from_the_trials_that_it_names(
    program: Program, submitted: Submitted, tmp_path: Path
) -> None:
    root = tmp_path / "mine"
    given = ("--data", str(submitted.data), "--out", str(root), "--json")
    done = program.run_here("submit", str(submitted.spec_file), *given)
    assert done.returncode == 0, done.stderr
    assert list_left(tmp_path) == ["mine", "mine.tar.gz"]
    answer = json.loads(done.stdout)
    assert answer["schema"] == 1
    assert list(answer["categories"]) == list(IMAGES)
    for category, one in answer["categories"].items():
        best = program.run_json("study", "show", f"submitted/{category}")["best"]
        assert (one["study"], one["trial"]) == (f"submitted/{category}", best["number"])
        assert one["images"] == 2 * IMAGES[category]
        assert one["held_out_scenes"] == 4
        assert one["false_positives"] == 0.2  # four scenes promise no less
        said = f"submitted/{category}: trial {best['number']}, the best trial, which no confirmation has judged"
        assert said in done.stderr
    assert f"{submitted.data / OF_TWO_PAGES} has 2 pages, of which the first is read" in done.stderr
    checked = program.run_here("submission", "check", str(root), "--data", str(submitted.data), **NOWHERE)
    assert checked.returncode == 0, checked.stderr
    assert "no fault; sizes are those of the images" in checked.stderr
    with tarfile.open(tmp_path / "mine.tar.gz") as tar:
        assert sum(member.isreg() for member in tar) == 8180


def test_exported_folders_give_the_maps_that_predict_gives(
    program: Program, submitted: Submitted, tmp_path: Path
) -> None:
    detectors = tmp_path / "detectors"
    detectors.mkdir()
    for category in IMAGES:
        which = ("--trial", "1") if category == "can" else ("--frozen",)
        export = ("model", "export", f"submitted/{category}", str(detectors / category), *which)
        made = program.run_here(*export, "--false-positives", "0.2")
        assert made.returncode == 0, made.stderr
    root = tmp_path / "mine"
    given = ("--detectors", str(detectors), "--data", str(submitted.data), "--out", str(root), "--json")
    done = program.run_here("submit", *given, **NOWHERE)
    assert done.returncode == 0, done.stderr
    one = json.loads(done.stdout)["categories"]["can"]
    assert one["trial"] == 1
    card = json.loads((detectors / "can" / "detector.json").read_text())
    assert card["adapter"]["kind"] == "lora"
    assert one["pixel_threshold"] == card["thresholds"]["pixel"]
    images = str(submitted.data / "can" / "test_private")
    out = tmp_path / "out"
    predict = ("predict", str(detectors / "can"), images, "--out", str(out), "--maps", "--masks")
    assert program.run_here(*predict, **NOWHERE).returncode == 0
    for number in (0, 17, 320):
        raw = np.asarray(Image.open(out / "maps" / f"{number:03}_regular.tiff"))
        half = read_map(root / "anomaly_images/can/test_private" / f"{number:03}_regular.tiff", SIZE_PX)
        wanted = (raw - np.float32(one["map"]["zero"])) / np.float32(one["map"]["unit"])
        np.testing.assert_array_equal(half, wanted.astype(np.float16))
        mask = f"test_private/{number:03}_regular.png"
        own = np.asarray(Image.open(root / "anomaly_images_thresholded/can" / mask))
        np.testing.assert_array_equal(own, np.asarray(Image.open(out / "masks" / Path(mask).name)))


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_the_middle_leaves_nothing(
    program: Program, submitted: Submitted, tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    given = ("--data", str(submitted.data), "--out", str(tmp_path / "mine"), "--frozen")
    process = program.start("submit", submitted.name, *given)

    def has_maps() -> bool:
        assert process.poll() is None, process.communicate()
        return any(tmp_path.glob(".mine.*.part/mine/anomaly_images/fabric/test_private/000_regular.tiff"))

    wait_for(has_maps)
    assert not (tmp_path / "mine").exists()
    process.send_signal(number)
    done = finish(process)
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert list_left(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "exit_code", "said"),
    [
        (("nowhere",), 2, "no study 'nowhere'"),
        (("nowhere.yaml",), 2, "no such spec file"),
        (("SPEC/can",), 2, "has no study of fabric, fruit_jelly"),
        (("SPEC", "--baseline"), 2, "submitted/fabric has no complete trial of v1.1"),
        (("SPEC", "--scorer", "nonsense"), 2, "nonsense"),
        (("SPEC", "--device", "abacus"), 2, "is no device"),
        (("SPEC", "--db", "postgresql://nobody@127.0.0.1:9/nowhere"), 3, "nothing answers"),
        (("SPEC", "--weights", "/nowhere/weights"), 3, "/nowhere/weights"),
    ],
)
def test_what_cannot_be_submitted_is_refused(
    program: Program, submitted: Submitted, tmp_path: Path, options: tuple[str, ...], exit_code: int, said: str
) -> None:
    spec, *rest = options
    given = ("--data", str(submitted.data), "--out", str(tmp_path / "mine"), *rest)
    done = program.run_here("submit", spec.replace("SPEC", submitted.name), *given)
    assert said in assert_one_error(done, exit_code)
    assert list_left(tmp_path) == []


def test_a_study_without_a_complete_trial_is_named_before_anything_is_made(
    program: Program, submitted: Submitted, tmp_path: Path
) -> None:
    spec_file = write_spec(tmp_path, "waiting", **CHANGES)
    created = program.run_here("study", "create", str(spec_file), "--data", str(submitted.data))
    assert created.returncode == 0, created.stderr
    done = program.run_here("submit", "waiting", "--data", str(submitted.data), "--out", str(tmp_path / "mine"))
    assert "waiting/can has no complete trial" in assert_one_error(done, 2)
    assert list_left(tmp_path) == [spec_file.name]


def test_a_study_of_another_category_is_refused(program: Program, submitted: Submitted, tmp_path: Path) -> None:
    spec = program.create_here("elsewhere").partition("/")[0]
    done = program.run_here("submit", spec, "--data", str(submitted.data), "--out", str(tmp_path / "mine"))
    assert "elsewhere has no study of can, fabric" in assert_one_error(done, 2)


def test_images_that_are_not_those_of_the_studies_are_refused(
    program: Program, submitted: Submitted, tmp_path: Path
) -> None:
    data = tmp_path / "other"
    data.mkdir()
    for category in IMAGES:
        (data / category).mkdir()
        for part in (submitted.data / category).iterdir():
            (data / category / part.name).symlink_to(part)
    (data / "can" / "train").unlink()
    write_images(data / "can/train/good", [f"{n:03}_regular" for n in range(20)], np.random.default_rng(9))
    done = program.run_here("submit", submitted.name, "--data", str(data), "--out", str(tmp_path / "mine"))
    assert "are not those of the study" in assert_one_error(done, 2)
    assert list_left(tmp_path) == ["other"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB: room by what pixels take, but each small file takes a page."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_is_named_and_nothing_is_left_on_it(
    program: Program, submitted: Submitted, small_disk: Path
) -> None:
    given = ("--data", str(submitted.data), "--out", str(small_disk / "mine"), "--frozen")
    done = program.run_here("submit", submitted.name, *given)
    assert f"cannot write {small_disk / 'mine'}: No space left on device" in assert_one_error(done, 3)
    assert "can: 642 images" in done.stderr
    assert "walnuts: 456 images" not in done.stderr
    assert list_left(small_disk) == []
