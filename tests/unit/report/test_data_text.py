"""What is shown of a folder of images that was checked, and of a category's division."""

from pathlib import Path

from anomalyvfm_opt.data.check import CategoryReport, FolderReport, PartReport
from anomalyvfm_opt.data.records import ImageRecord
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.report.data_text import check_to_json, describe_check, tabulate_check, tabulate_split

CAN = CategoryReport(
    "can",
    "MVTec AD 2",
    parts=(
        PartReport("train", "good", 3, 2, {"": 1, "regular": 2}),
        PartReport("test", "bad", 2, 2, {"overexposed": 2}),
    ),
    smallest_px=(64, 32),
    largest_px=(128, 32),
    modes={"L": 2, "RGB": 2, "I;16": 1},
    masks=1,
    warnings=("can: faint",),
    information=("can: half",),
)
GONE = CategoryReport("gone", None, errors=("gone has gone",))
REPORT = FolderReport(Path("/images"), (CAN, GONE), ("other",), ("/images/lost.png is not read",))


def test_a_category_has_a_row_for_each_part_and_its_last_row_has_the_rest_of_the_modes() -> None:
    table = tabulate_check(REPORT)
    assert table.title == "/images"
    assert table.rows == [
        ("can", "train", "3", "2", "1", "", "64x32", "L 2"),
        ("(MVTec AD 2)", "test bad", "2", "2", "1", "1", "to 128x32", "RGB 2, I;16 1"),
        ("gone", "-", "0", "0", "0", "0", "-", "-"),
    ]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_notes_come_first_then_warnings_and_last_what_keeps_a_category_from_use() -> None:
    assert list(describe_check(REPORT)) == [
        "note: /images/other is no category: it has no train, validation, test or test_public folder",
        "note: can has images under several lights: (none) 1, overexposed 2, regular 2",
        "note: can: half",
        "warning: /images/lost.png is not read",
        "warning: can: faint",
        "problem: gone has gone",
        "1 of 2 categories cannot be used: gone",
    ]


def test_the_json_object_says_which_categories_can_be_used() -> None:
    found = check_to_json(REPORT)["categories"]
    assert isinstance(found, list)
    assert [(one["name"], one["is_usable"], one["usable"]) for one in found] == [
        ("can", True, True),
        ("gone", False, False),
    ]


def test_a_division_is_counted_by_role_and_label() -> None:
    def record(name: str, label: str, scene: str) -> ImageRecord:
        return ImageRecord(Path(name), name, label, scene, None, None)

    good, again, bad = record("1", "good", "s"), record("2", "good", "s"), record("3", "bad", "t")
    split = Split(lock="half", fit=(good, again), held_out=(), search=(good, bad), locked=())
    assert tabulate_split("can, lock: half", split).rows == [
        ("fit", "good", "2", "1"),
        ("search", "good", "1", "1"),
        ("search", "bad", "1", "1"),
    ]
