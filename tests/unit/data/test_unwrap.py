"""Categories whose archive unpacked to a folder of the same name inside."""

from pathlib import Path

import pytest

from anomalyvfm_opt.data.folders import has_part, unwrap
from anomalyvfm_opt.data.mvtec_ad import MVTEC_AD, PLAIN
from anomalyvfm_opt.data.mvtec_ad2 import MVTEC_AD2


@pytest.mark.parametrize("part", ["train", "validation", "test", "test_public"])
def test_any_part_makes_a_folder_a_category(tmp_path: Path, part: str) -> None:
    assert not has_part(tmp_path)
    (tmp_path / part).mkdir()
    assert has_part(tmp_path)


def test_the_inner_folder_counts_only_where_the_outer_one_has_nothing(tmp_path: Path) -> None:
    outer = tmp_path / "can"
    assert unwrap(outer) == outer
    (outer / "can" / "train").mkdir(parents=True)
    assert unwrap(outer) == outer / "can"
    (outer / "train").mkdir()
    assert unwrap(outer) == outer


def test_a_layout_is_known_by_its_test_folders(tmp_path: Path) -> None:
    (tmp_path / "test" / "bad").mkdir(parents=True)
    assert [layout.is_category(tmp_path) for layout in (MVTEC_AD2, MVTEC_AD, PLAIN)] == [False, False, True]
    (tmp_path / "test" / "scratch").mkdir()
    (tmp_path / "test" / "scratch" / "000.png").touch()
    assert [layout.is_category(tmp_path) for layout in (MVTEC_AD2, MVTEC_AD, PLAIN)] == [False, True, True]
    (tmp_path / "test_public").mkdir()
    assert MVTEC_AD2.is_category(tmp_path)
