import pytest

from anomalyvfm_opt.data.scenes import parse_name


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("003_regular", ("003", "regular")),
        ("000_shift_1", ("000", "shift_1")),
        ("017", ("017", None)),
        ("img7", (None, None)),
        ("20260131_142501", (None, None)),
        ("003_", (None, None)),
        ("", (None, None)),
    ],
)
def test_parse_name(stem: str, expected: tuple[str | None, str | None]) -> None:
    assert parse_name(stem) == expected
