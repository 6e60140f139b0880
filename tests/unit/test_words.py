"""A number with its noun."""

import pytest

from anomalyvfm_opt.words import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "image", "2 images"),
        (1, "study", "1 study"),
        (3, "study", "3 studies"),
        (3, "day", "3 days"),
        (2, "patch", "2 patches"),
        (2, "normal scene", "2 normal scenes"),
        (0.5, "GPU", "0.5 GPUs"),
        (1.0, "GPU", "1 GPU"),
        (20_000_000, "file", "20000000 files"),
    ],
)
def test_the_noun_agrees_with_its_number(number: float, noun: str, text: str) -> None:
    assert counted(number, noun) == text
