import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.data.check import check_folder
from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.data.layout import list_categories, read_category
from anomalyvfm_opt.data.split import content_hashes, divide
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError

pytest.importorskip("skimage", reason="the demo's photographs come with scikit-image")
_SIZE = 32


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "images"
    write_demo(folder, image_size_px=_SIZE)
    return folder


def _hash_all(folder: Path) -> dict[str, str]:
    hashes = {}
    for name in list_categories(folder):
        images = read_category(folder, name)
        hashes.update(content_hashes((*images.train, *images.validation, *images.test)))
    return hashes


def test_three_sound_categories_that_can_be_halved(demo: Path) -> None:
    report = check_folder(demo)
    assert [c.name for c in report.categories] == ["brick", "grass", "gravel"]
    assert report.problems == []
    for category in report.categories:
        assert category.smallest_px == category.largest_px == (_SIZE, _SIZE)
        scenes = 96 if category.name == "grass" else 24
        test = (scenes * 4 // 3, scenes)
        assert [(p.images, p.scenes) for p in category.parts] == [(48, 48), (16, 16), test, test]
        assert category.parts[3].lights == {
            "overexposed": scenes // 6,
            "regular": scenes,
            "underexposed": scenes // 6,
        }
        split = divide(read_category(demo, category.name), "half")
        assert {record.label for record in split.locked} == {"good", "bad"}


def test_no_two_images_are_the_same(demo: Path) -> None:
    hashes = _hash_all(demo)
    assert len(set(hashes.values())) == len(hashes)


def test_lights_differ_in_brightness(demo: Path) -> None:
    means: dict[str, list[float]] = {"regular": [], "overexposed": [], "underexposed": []}
    for record in read_category(demo, "gravel").test:
        with Image.open(record.path) as image:
            means[record.light or ""].append(float(np.asarray(image).mean()))
    under, regular, over = (np.mean(means[light]) for light in ("underexposed", "regular", "overexposed"))
    assert under + 10 < regular < over - 10


def test_the_same_seed_gives_the_same_files_and_another_seed_others(demo: Path, tmp_path: Path) -> None:
    write_demo(tmp_path / "again", image_size_px=_SIZE)
    write_demo(tmp_path / "other", seed=1, image_size_px=_SIZE)
    hashes, again, other = (_hash_all(folder) for folder in (demo, tmp_path / "again", tmp_path / "other"))
    assert again == hashes
    assert not set(other.values()) & set(hashes.values())


def test_writing_it_again_changes_nothing(demo: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    assert write_demo(demo, image_size_px=_SIZE) == ["brick", "gravel", "grass"]
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"image_size_px": 64}])
def test_demo_data_of_another_kind_is_left_alone(demo: Path, change: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="other or incomplete demo data"):
        write_demo(demo, **{"image_size_px": _SIZE, **change})


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        write_demo(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        write_demo(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_demo_data_that_lost_a_file_is_not_taken_for_complete(demo: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(demo, tmp_path / "copy")
    (folder / "brick/train/good/000_regular.png").unlink()
    with pytest.raises(UsageError, match="incomplete"):
        write_demo(folder, image_size_px=_SIZE)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    write_demo(folder, image_size_px=16)
    assert len(list_categories(folder)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentMissingError, match="file/demo"):
        write_demo(tmp_path / "file/demo", image_size_px=16)


def test_without_scikit_image_the_fix_is_named(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
sys.modules["skimage"] = None  # as if it was not installed
from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.errors import EnvironmentMissingError
try:
    write_demo(Path(sys.argv[1]))
except EnvironmentMissingError as error:
    print(error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "demo")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "pip install 'anomalyvfm-opt[offline]'"
    assert not list(tmp_path.iterdir())
