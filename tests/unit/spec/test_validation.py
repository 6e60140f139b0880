"""From a document to a spec, or to all that is wrong in it."""

from typing import Any

from anomalyvfm_opt.spec.validation import keep_sound_part, validate

SOUND: dict[str, Any] = {"name": "x", "data": {"image_size_px": 64, "lock": "half"}, "search": {"trials": 9}}


def test_a_sound_document_is_a_spec_without_problems() -> None:
    spec, problems = validate(SOUND)
    assert spec is not None
    assert (spec.name, spec.data.image_size_px, problems) == ("x", 64, [])


def test_a_contradiction_is_found_beside_a_mistake_elsewhere() -> None:
    space = {"rank": [4, 4], "adapter": ["lorra"]}
    spec, problems = validate({**SOUND, "search": {"trials": 9, "space": space}})
    assert spec is None
    said = [str(problem) for problem in problems]
    assert any("lorra" in line for line in said)
    assert any("search.space.rank.1" in line and "listed twice" in line for line in said)


def test_the_part_that_says_what_the_network_is_is_kept_although_the_rest_is_wrong() -> None:
    kept = keep_sound_part({**SOUND, "search": {"trials": -1}})
    assert kept is not None
    assert kept.data.image_size_px == 64
    assert keep_sound_part({**SOUND, "data": {"image_size_px": "large"}}) is None
