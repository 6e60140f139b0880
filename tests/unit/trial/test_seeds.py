"""Seeds out of what they are for."""

from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.trial.seeds import derive_seed

PARTS = st.lists(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x1f")) | st.integers(), max_size=4
)


@given(PARTS)
def test_a_seed_depends_on_its_parts_alone_and_fits_into_31_bits(parts: list[object]) -> None:
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**31
    assert seed == derive_seed(*parts)


def test_a_seed_is_the_same_on_any_host_and_in_any_version() -> None:
    assert derive_seed("trial", 0, "demo/brick", 3) != derive_seed("trial", 0, "demo/brick", 4)
    assert derive_seed("ab", "c") != derive_seed("a", "bc")
    assert derive_seed("trial", 0, "demo/brick", 3) == 515152849
