"""How near sets of parameters are to each other."""

from dataclasses import replace

import numpy as np
import pytest

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.verdict.encoding import Encoding, round_parameters

ONE = reference_parameters("v1.1", "can", 64)
assert ONE is not None


def distance(known: list[Parameters], a: Parameters, b: Parameters) -> float:
    x = Encoding(known).encode([a, b])
    return float(np.linalg.norm(x[0] - x[1]))


def test_what_all_trials_share_has_no_column() -> None:
    encoding = Encoding([ONE, replace(ONE, rank=4)])
    assert encoding.columns == ["rank"]
    assert encoding.encode([ONE, replace(ONE, rank=4), replace(ONE, rank=8)]).ravel() == pytest.approx([1, 0, 0.5])
    assert Encoding([ONE]).encode([ONE, ONE]).shape == (2, 0)


def test_other_choices_are_as_far_as_the_ends_of_a_range() -> None:
    adapters = [replace(ONE, adapter=adapter) for adapter in ("lora", "dora", "rslora", "adalora")]
    assert {round(distance(adapters, adapters[0], other), 9) for other in adapters[1:]} == {1}
    rates = [replace(ONE, learning_rate=rate) for rate in (1e-5, 1e-4, 1e-3)]
    assert distance(rates, rates[0], rates[2]) == pytest.approx(1)
    assert distance(rates, rates[0], rates[1]) == pytest.approx(0.5)  # what acts by factors is on a log scale


def test_all_blocks_are_more_than_any_number() -> None:
    sets = [replace(ONE, adapted_blocks=blocks) for blocks in (2, 4, 6, "all")]
    places = Encoding(sets).encode(sets).ravel()
    assert list(places) == sorted(places)
    assert places[0] == 0
    assert places[3] == 1
    assert places[2] < 0.9


def test_an_image_size_counts_where_it_varies() -> None:
    sets = [replace(ONE, image_size_px=size) for size in (128, 256, 512)]
    encoding = Encoding(sets)
    assert encoding.columns == ["image_size_px"]
    assert encoding.encode(sets).ravel() == pytest.approx([0, 0.5, 1])
    assert Encoding([ONE, replace(ONE, epochs=3)]).columns == ["epochs"]


def test_a_last_digit_that_the_sampler_changed_is_no_difference() -> None:
    suggested = Parameters.from_suggested(ONE.to_suggested(), 64)
    assert suggested != ONE  # or there is nothing to show here
    assert Encoding([ONE, suggested]).columns == []
    assert round_parameters(suggested) == round_parameters(ONE)
    assert round_parameters(replace(ONE, learning_rate=1.00001e-4)) != round_parameters(ONE)


def test_coordinates_and_their_order_are_those_that_stored_studies_were_judged_by() -> None:
    one = replace(ONE, image_size_px=192)
    other = replace(one, adapter="dora", targets="attention_mlp", texture=0.1, structural=0.7, contextual=0.2)
    other = replace(other, rank=4, alpha_ratio=0.25, adapted_blocks=2, dropout=0.2, epochs=2, learning_rate=2e-3)
    other = replace(other, synthesis_count=300, synthesis_intensity=1.5, image_size_px=128)
    third = replace(one, adapter="adalora", texture=0.5, structural=0.0, contextual=0.5)
    third = replace(third, rank=8, alpha_ratio=0.7, adapted_blocks=6, dropout=0.1, epochs=5, learning_rate=3e-4)
    third = replace(third, synthesis_count=30, synthesis_intensity=0.67, image_size_px=160)
    encoding = Encoding([one, other, third])
    half = np.sqrt(0.5)
    expected = {
        "adapter": [(0, 0, half), (0, half, 0), (half, 0, 0)],  # adalora, dora, lora
        "targets": [(half, 0), (0, half), (half, 0)],
        "rank": [1, 0, 0.5],
        "alpha_ratio": [1, 0, 0.4951422757234139],
        "adapted_blocks": [1, 0, 0.6131471927654584],
        "dropout": [0, 1, 0.5],
        "epochs": [1, 0, 0.5693234419266069],
        "learning_rate": [0, 1, 0.3667257913420845],
        "texture": [0.5833333333333333, 0, 1],
        "structural": [0.4761904761904762, 1, 0],
        "synthesis_count": [0.47712125471966244, 1, 0],
        "synthesis_intensity": [0.3975903614457831, 1, 0],
        "image_size_px": [1, 0, 0.5503397132132081],
    }
    columns = [name for name, places in expected.items() for _ in np.atleast_1d(places[0])]
    assert encoding.columns == columns
    rows = [np.concatenate([np.atleast_1d(places[i]) for places in expected.values()]) for i in range(3)]
    assert encoding.encode([one, other, third]) == pytest.approx(np.array(rows), abs=1e-14)


def test_heads_alone_lie_in_the_middle_of_what_only_an_adapter_has() -> None:
    sets = [replace(ONE, rank=rank, targets=t) for rank, t in ((4, "attention"), (64, "attention_mlp"))]
    alone = [replace(one, adapter="none") for one in sets]
    encoding = Encoding([*sets, *alone])
    found = dict(zip(encoding.columns, encoding.encode(alone).T, strict=False))
    assert found["rank"] == pytest.approx([0.5, 0.5])
    assert distance([*sets, *alone], *alone) == 0  # the same heads, whatever rank was drawn for them
    assert {round(distance([*sets, *alone], one, alone[0]), 6) for one in sets} == {1.224745}
    assert "rank" not in Encoding([sets[0], *alone]).columns  # of one rank alone nothing can be said
