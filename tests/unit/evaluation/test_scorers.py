import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from anomalyvfm_opt.evaluation.features import Features, extract_features
from anomalyvfm_opt.evaluation.scorers import ScorerBank
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector


def make_features(n: int, shift: float = 0.0, seed: int = 0, has_heads: bool = True) -> Features:
    rng = torch.Generator().manual_seed(seed)
    return Features(
        patches=torch.randn(n, 16, 6, generator=rng) + shift,
        pooled=torch.randn(n, 10, generator=rng) + shift,
        grid=(4, 4),
        image_logit=torch.randn(n, generator=rng) + shift if has_heads else None,
        mask_probability=(torch.randn(n, 8, 8, generator=rng) + shift).sigmoid() if has_heads else None,
    )


@pytest.fixture
def bank() -> ScorerBank:
    return ScorerBank(make_features(30), make_features(12, seed=1), memory_patches=10_000, seed=0)


def test_every_scorer_ranks_far_images_above_near_ones(bank: ScorerBank) -> None:
    near, far = bank.score(make_features(9, seed=2)).image, bank.score(make_features(9, 8.0, seed=3)).image
    assert set(near) == {"predictor", "decoder", "mahalanobis", "patch_knn", "ensemble"}
    for name in near:
        assert near[name].max() < far[name].min(), name


def test_the_frozen_detector_has_the_training_free_scorers_only() -> None:
    def frozen(n: int, seed: int) -> Features:
        return make_features(n, seed=seed, has_heads=False)

    scores = ScorerBank(frozen(30, 0), frozen(12, 1), memory_patches=10_000, seed=0).score(frozen(5, 2))
    assert set(scores.image) == {"mahalanobis", "patch_knn", "ensemble"}
    assert set(scores.maps) == {"patch_knn"}


def test_patch_distances_are_those_of_an_exact_search(bank: ScorerBank) -> None:
    memory, query = make_features(30).patches.flatten(0, 1), make_features(5, seed=2)
    search = NearestNeighbors(n_neighbors=1).fit(memory.numpy())
    expected, _ = search.kneighbors(query.patches.flatten(0, 1).numpy())
    np.testing.assert_allclose(bank.score(query).maps["patch_knn"].ravel(), expected.ravel(), atol=1e-4)


def test_fewer_images_than_dimensions_still_give_a_finite_distance() -> None:
    rng = torch.Generator().manual_seed(0)
    wide = [
        Features(torch.randn(n, 4, 3, generator=rng), torch.randn(n, 200, generator=rng), (2, 2), None, None)
        for n in (20, 8, 5)
    ]
    distances = ScorerBank(wide[0], wide[1], 1000, 0).score(wide[2]).image["mahalanobis"]
    assert np.isfinite(distances).all()
    assert (distances > 0).all()


def test_scores_of_an_image_do_not_depend_on_its_neighbours(bank: ScorerBank) -> None:
    both = make_features(6, seed=4)
    one = Features(*(x[2:3] if isinstance(x, torch.Tensor) else x for x in vars(both).values()))
    for name, alone in bank.score(one).image.items():
        np.testing.assert_allclose(alone, bank.score(both).image[name][2:3], rtol=1e-5)


def test_the_memory_bank_is_thinned_by_its_seed() -> None:
    fit, held_out, query = make_features(30), make_features(12, seed=1), make_features(4, seed=2)
    maps = [ScorerBank(fit, held_out, 50, seed).score(query).maps["patch_knn"] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert (maps[0] != maps[2]).any()
    full = ScorerBank(fit, held_out, 10_000, 0).score(query).maps["patch_knn"]
    assert (maps[0] >= full - 1e-5).all()


def test_features_do_not_depend_on_the_batch_and_leave_the_mode_alone() -> None:
    backbone = Backbone("tf_efficientnet_lite0", "offline", (1, 2), None, 64)
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    whole, parts = (extract_features(Detector(backbone), images, size) for size in (5, 2))
    torch.testing.assert_close(whole.patches, parts.patches, rtol=1e-4, atol=1e-4)
    assert whole.image_logit is None
    settings = {"adapter": "lora", "rank": 2, "alpha": 4.0, "targets": "attention", "adapted_blocks": 2}
    with build_detector(backbone, **settings, seed=0) as detector:
        detector.train()
        features = extract_features(detector, images, 4)
        assert detector.training
        assert not backbone.network.training
        assert features.mask_probability is not None
        assert features.mask_probability.shape == (5, 32, 32)
