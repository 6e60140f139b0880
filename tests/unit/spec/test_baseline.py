"""The baseline of a spec that names none: specs from before there was a verdict are to be read as well."""

from typing import Any

import pytest
from pydantic import ValidationError

from anomalyvfm_opt.spec.model import Spec


def make_spec(references: list[str], **verdict: Any) -> Spec:
    data = {"image_size_px": 64, "lock": "half"}
    content = {"name": "x", "data": data, "references": references, "search": {"trials": 5}}
    return Spec.model_validate({**content, **({"verdict": verdict} if verdict else {})})


@pytest.mark.parametrize(
    ("references", "baseline"),
    [
        (["frozen", "v1.1", "v1.2"], "v1.1"),
        (["v1.2", "v1.1"], "v1.1"),
        (["frozen", "v1.2"], "v1.2"),
        (["frozen"], "frozen"),
        ([], "v1.1"),
    ],
)
def test_a_spec_without_one_has_the_best_of_its_references(references: list[str], baseline: str) -> None:
    assert make_spec(references).baseline == baseline


def test_a_baseline_that_is_named_is_taken_and_has_to_be_a_reference() -> None:
    assert make_spec(["frozen", "v1.1"], baseline="frozen").baseline == "frozen"
    with pytest.raises(ValidationError, match=r"v1\.1 is not among the references; add it there"):
        make_spec(["frozen", "v1.2"], baseline="v1.1")
