"""What the regression over trials says, how sure it is, and who goes on."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.verdict.smoothing import Observed, choose_finalists, smooth

BASELINE = reference_parameters("v1.1", "can", 64)
assert BASELINE is not None


def draw_parameters(rng: np.random.Generator) -> Parameters:
    return Parameters.from_suggested(
        {
            "adapter": str(rng.choice(["lora", "rslora", "dora", "adalora"])),
            "rank": int(2 ** rng.integers(1, 7)),
            "alpha_ratio": float(np.exp(rng.uniform(np.log(0.25), np.log(4)))),
            "targets": str(rng.choice(["attention", "attention_mlp"])),
            "adapted_blocks": [2, 4, 6, "all"][rng.integers(4)],
            "dropout": 0.0,
            "epochs": int(rng.integers(2, 21)),
            "learning_rate": float(np.exp(rng.uniform(np.log(3e-5), np.log(2e-3)))),
            "mix_u1": float(rng.random()),
            "mix_u2": float(rng.random()),
            "synthesis_count": int(rng.integers(30, 301)),
            "synthesis_intensity": float(rng.choice([0.33, 0.67, 1.0, 1.17, 1.5])),
        },
        own_size_px=64,
    )


def true_value(parameters: Parameters) -> float:
    """A bump in the learning rate, and a slope in the rank."""
    return 0.8 - 0.03 * (np.log10(parameters.learning_rate) + 3.5) ** 2 + 0.01 * np.log2(parameters.rank)


def draw_trials(count: int, noise_sd: float, seed: int = 0) -> list[Observed]:
    rng = np.random.default_rng(seed)
    drawn = [draw_parameters(rng) for _ in range(count)]
    return [Observed(i, p, true_value(p) + noise_sd * rng.normal()) for i, p in enumerate(drawn)]


@pytest.mark.parametrize("noise_sd", [None, 0.03])
def test_expected_values_are_nearer_to_the_truth_than_values(noise_sd: float | None) -> None:
    misses, claims = [], []
    for seed in range(6):
        trials = draw_trials(40, 0.03, seed)
        found = smooth(trials, noise_sd).estimates
        assert sorted(estimate.number for estimate in found) == list(range(40))
        assert [estimate.mean for estimate in found] == sorted((e.mean for e in found), reverse=True)
        misses += [
            ((e.mean - true_value(e.parameters)) ** 2, (e.value - true_value(e.parameters)) ** 2) for e in found
        ]
        best = max(trials, key=lambda trial: trial.value)
        claims.append((found[0].mean - true_value(found[0].parameters), best.value - true_value(best.parameters)))
    smoothed, raw = np.mean(misses, axis=0)
    assert smoothed < 0.5 * raw
    claimed, lucky = np.mean(claims, axis=0)
    assert lucky > 0.03
    assert abs(claimed) < 0.5 * lucky


def test_standard_deviations_hold_what_they_promise() -> None:
    z = [
        (estimate.mean - true_value(estimate.parameters)) / estimate.sd
        for seed in range(8)
        for estimate in smooth(draw_trials(30, 0.02, seed), 0.02).estimates
    ]
    assert np.mean(np.abs(z) < 1.96) > 0.8
    assert 0.6 < np.std(z) < 1.5


def test_a_difference_is_surer_than_two_estimates_apart() -> None:
    trials = draw_trials(25, 0.02)
    smoother = smooth(trials, 0.02)
    a, b = (
        trials[3].parameters,
        replace(trials[3].parameters, synthesis_count=trials[3].parameters.synthesis_count + 5),
    )
    gain, sd = smoother.difference(a, b)
    (mean_a, sd_a), (mean_b, sd_b) = smoother.predict(a), smoother.predict(b)
    assert gain == pytest.approx(mean_a - mean_b)
    assert sd < 0.3 * np.hypot(sd_a, sd_b)  # they are neighbours: what is not known of one is not known of both
    assert smoother.difference(b, a) == pytest.approx((-gain, sd))
    assert smoother.difference(a, a) == pytest.approx((0, 0), abs=1e-6)
    by_number = {estimate.number: estimate for estimate in smoother.estimates}
    assert (mean_a, sd_a) == pytest.approx((by_number[3].mean, by_number[3].sd))


def test_what_no_trial_was_near_is_less_sure() -> None:
    trials = [trial for trial in draw_trials(60, 0.01) if trial.parameters.learning_rate < 3e-4]
    smoother = smooth(trials, 0.01)
    far = replace(trials[0].parameters, learning_rate=2e-3)
    assert smoother.predict(far)[1] > 1.5 * smoother.predict(trials[0].parameters)[1]


def test_repeats_make_surer() -> None:
    ratios, nearer = [], []
    for seed in range(6):
        trials = draw_trials(15, 0.02, seed)
        one = trials[4]
        again = [replace(one, number=15 + i) for i in range(4)]
        once, often = (smooth(known, 0.02).predict(one.parameters) for known in (trials, trials + again))
        ratios.append(often[1] / once[1])
        nearer.append(abs(often[0] - one.value) < abs(once[0] - one.value))
    assert np.mean(ratios) < 0.85
    assert all(nearer)


def test_noise_is_not_taken_to_be_less_than_measured() -> None:
    trials = draw_trials(40, 0.001)
    assert smooth(trials).noise_sd < 0.01
    assert smooth(trials, 0.02).noise_sd >= 0.02 * (1 - 1e-6)
    assert smooth(trials, 10.0).noise_sd == pytest.approx(10)
    assert smooth(draw_trials(40, 0.05), 0.001).noise_sd > 0.02


@settings(deadline=None, max_examples=20)
@given(st.integers(5, 12), st.integers(0, 1000), st.floats(0.1, 10), st.floats(-0.5, 0.5))
def test_scaled_values_scale_estimates_and_the_order_of_trials_does_not_matter(
    count: int, seed: int, factor: float, shift: float
) -> None:
    trials = draw_trials(count, 0.02, seed)
    moved = [replace(t, value=factor * t.value + shift) for t in reversed(trials)]
    one, other = smooth(trials, 0.02), smooth(moved, 0.02 * factor)
    for parameters in (BASELINE, trials[0].parameters):
        (mean, sd), (moved_mean, moved_sd) = one.predict(parameters), other.predict(parameters)
        assert moved_mean == pytest.approx(factor * mean + shift, abs=2e-3 * factor)
        assert moved_sd == pytest.approx(factor * sd, rel=0.1)


def test_the_same_trials_give_the_same_estimates() -> None:
    trials = draw_trials(20, 0.02)
    assert smooth(trials, 0.01).estimates == smooth(trials, 0.01).estimates


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_trials_are_drawn_to_their_mean(count: int) -> None:
    trials = draw_trials(count, 0.02)
    smoother = smooth(trials, 0.02)
    mean = np.mean([trial.value for trial in trials])
    for estimate in smoother.estimates:
        assert estimate.mean == pytest.approx(mean + (estimate.value - mean) * _share(trials, 0.02), abs=1e-9)
        assert 0 < estimate.sd < 0.03
    unseen, sd = smoother.predict(BASELINE)
    assert unseen == pytest.approx(mean)
    assert sd > smoother.estimates[0].sd
    assert [e.value for e in smoother.estimates] == sorted((t.value for t in trials), reverse=True)


def _share(trials: list[Observed], noise_sd: float) -> float:
    values = [trial.value for trial in trials]
    between = max(np.var(values, ddof=1) - noise_sd**2, noise_sd**2) if len(values) > 1 else noise_sd**2
    return float(between / (between + noise_sd**2))


@pytest.mark.parametrize("noise_sd", [None, 0.01])
def test_equal_values_are_not_certain(noise_sd: float | None) -> None:
    trials = [replace(trial, value=0.9) for trial in draw_trials(12, 0.0)]
    smoother = smooth(trials, noise_sd)
    assert all(e.mean == pytest.approx(0.9) and e.sd > 0.003 for e in smoother.estimates)
    gain, sd = smoother.difference(trials[0].parameters, trials[1].parameters)
    assert gain == pytest.approx(0)
    assert sd > 0.005


def test_seeds_of_one_set_alone_are_averaged() -> None:
    values = [0.80, 0.82, 0.78, 0.81, 0.79, 0.80]
    found = smooth([Observed(i, BASELINE, value) for i, value in enumerate(values)])
    assert found.predict(BASELINE)[0] == pytest.approx(0.80)
    assert found.predict(BASELINE)[1] < np.std(values)


def test_finalists_are_distinct_and_not_the_baseline() -> None:
    trials = draw_trials(10, 0.01)
    best = max(trials, key=lambda trial: true_value(trial.parameters)).parameters
    more = [Observed(10 + i, best, true_value(best)) for i in range(3)] + [Observed(13, BASELINE, 2.0)]
    smoother = smooth([*trials, *more], 0.01)
    assert smoother.estimates[0].parameters == BASELINE
    finalists = choose_finalists(smoother, 4, BASELINE)
    assert len({finalist.parameters for finalist in finalists}) == 4
    assert BASELINE not in [finalist.parameters for finalist in finalists]
    assert [f.mean for f in finalists] == sorted((f.mean for f in finalists), reverse=True)
    assert choose_finalists(smoother, 1, None)[0].parameters == BASELINE
    assert len(choose_finalists(smoother, 50, BASELINE)) == 10
    suggested = Parameters.from_suggested(BASELINE.to_suggested(), 64)  # a last digit is another
    assert choose_finalists(smoother, 50, suggested) == choose_finalists(smoother, 50, BASELINE)


def test_unusable_values_are_refused() -> None:
    trials = draw_trials(6, 0.01)
    for unusable in ([], [replace(trials[0], value=float("nan")), *trials]):
        with pytest.raises(ValueError, match="values of trials"):
            smooth(unusable)
    for noise_sd in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="noise_sd"):
            smooth(trials, noise_sd)
