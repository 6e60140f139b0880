"""Draws of libraries that know torch's global generator only."""

import torch

from anomalyvfm_opt.model.seeding import drawn_from


def test_the_seed_decides_and_the_global_generator_goes_on_as_if_nothing_had_been() -> None:
    before = torch.random.get_rng_state()
    drawn = []
    for seed in (1, 1, 2):
        with drawn_from(seed):
            drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.random.get_rng_state(), before)
