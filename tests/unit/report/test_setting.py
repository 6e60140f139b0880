"""A trial's parameters in a few words."""

from dataclasses import replace

from anomalyvfm_opt.report.setting import SETTING_HEADING, describe_load, describe_mix, describe_setting
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.spec.space import Space

V1_2 = reference_parameters("v1.2", "walnuts", 64)
assert V1_2 is not None
PLAIN, SIZED = Space(), Space(image_size_px=(64, 96))


def test_a_setting_names_the_image_size_only_where_it_is_searched() -> None:
    assert describe_setting(V1_2, PLAIN) == "R32 / A64 / 12"
    assert describe_setting(V1_2, SIZED) == "R32 / A64 / 12 / 64 px"
    assert describe_setting(replace(V1_2, alpha_ratio=0.4567), PLAIN) == "R32 / A14.6 / 12"
    assert describe_setting(None, SIZED) == "frozen"


def test_a_load_is_what_memory_depends_on() -> None:
    assert describe_load(V1_2, PLAIN) == "lora, rank 32, attention, adapted blocks all"
    assert describe_load(V1_2, SIZED) == "lora, rank 32, attention, adapted blocks all, 64 px"


def test_a_mix_is_in_percent() -> None:
    assert describe_mix(V1_2) == "44/28/28"


def test_the_heading_names_what_does_not_say_itself_what_it_is() -> None:
    assert SETTING_HEADING == "rank / alpha / epochs"


def test_what_only_an_adapter_has_is_not_shown_of_heads_alone() -> None:
    heads = reference_parameters("heads", "walnuts", 64)
    assert heads is not None
    assert describe_setting(heads, SIZED) == "- / - / 10 / 64 px"
    assert describe_load(heads, SIZED) == "none, 64 px"
