"""Planned trials survive being stored: what is trained is to the last digit what was decided."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.trial_record import TrialRecord

_SHARES = st.floats(0, 1)
_FLOATS = st.floats(0, exclude_min=True, allow_infinity=False)
_PARAMETERS = st.builds(
    Parameters,
    adapter=st.sampled_from(["lora", "dora"]),
    rank=st.integers(1, 64),
    alpha_ratio=_FLOATS,
    targets=st.just("attention"),
    adapted_blocks=st.one_of(st.integers(1, 12), st.just("all")),
    epochs=st.integers(1, 20),
    learning_rate=_FLOATS,
    texture=_SHARES,
    structural=_SHARES,
    contextual=_SHARES,
    synthesis_count=st.integers(1, 300),
    synthesis_intensity=_FLOATS,
    dropout=_SHARES,
    image_size_px=st.integers(32, 2048),
)
_PLANNED = st.builds(
    Planned,
    arm=st.text(min_size=1),
    parameters=st.one_of(st.none(), _PARAMETERS),
    seed=st.integers(0, 2**31 - 1),
    round=st.integers(0, 9),
    scorer=st.one_of(st.none(), st.just("patch_knn")),
)


def store(planned: Planned) -> dict[str, Any]:
    """The trial's attributes, as they come back out of the database."""
    found: dict[str, Any] = json.loads(json.dumps({"planned": planned.to_json(), "training_seed": 1}))
    return found


@given(_PLANNED)
def test_it_comes_back_as_it_was(planned: Planned) -> None:
    assert TrialRecord.from_attributes(store(planned)).read_planned(64) == planned


@given(_PARAMETERS, st.integers(32, 2048))
def test_a_trial_that_was_planned_before_all_parameters_had_a_size_has_that_of_the_spec(
    parameters: Parameters, own_size_px: int
) -> None:
    attributes = store(Planned(arm="finalist", parameters=parameters, seed=7))
    planned = Planned(arm="finalist", parameters=replace(parameters, image_size_px=own_size_px), seed=7)
    attributes["planned"]["parameters"]["image_size_px"] = None
    assert TrialRecord.from_attributes(attributes).read_planned(own_size_px) == planned
    del attributes["planned"]["parameters"]["image_size_px"]
    assert TrialRecord.from_attributes(attributes).read_planned(own_size_px) == planned


def test_a_trial_that_was_not_planned_is_told_apart() -> None:
    assert TrialRecord.from_attributes({"reference": "frozen"}).read_planned(64) is None


def test_a_retraining_is_known_by_round_arm_and_seed_alone() -> None:
    one = Planned("finalist", None, 7, 1, "patch_knn")
    assert one.key == Planned("finalist", None, 7, 1, "ensemble").key
    others = (Planned("baseline", None, 7, 1), Planned("finalist", None, 8, 1), Planned("finalist", None, 7, 2))
    assert one.key not in {other.key for other in others}
