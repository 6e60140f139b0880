import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.evaluation import scorer_bank
from anomalyvfm_opt.evaluation.coreset import choose_coreset
from anomalyvfm_opt.evaluation.features import Features, HeadFeatures, TileFeatures, extract_features
from anomalyvfm_opt.evaluation.scorer_bank import CalibratedBank, ScorerBank, Scores
from anomalyvfm_opt.evaluation.scorers import SCORERS, Scorer
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.model.memory import ShrinkingBatch


def make_batch(n: int, shift: float = 0.0, seed: int = 0, has_heads: bool = True) -> Features:
    rng = torch.Generator().manual_seed(seed)
    return Features(
        patches=torch.randn(n, 4, 4, 6, generator=rng) + shift,
        pooled=torch.randn(n, 10, generator=rng) + shift,
        heads=draw_heads(n, shift, rng) if has_heads else None,
    )


def draw_heads(n: int, shift: float, rng: torch.Generator) -> HeadFeatures:
    return HeadFeatures(
        image_logit=torch.randn(n, generator=rng) + shift,
        mask_probability=(torch.randn(n, 8, 8, generator=rng) + shift).sigmoid(),
    )


def take(batch: Features, part: slice) -> Features:
    """Some tiles of a batch."""
    heads = HeadFeatures(**{name: values[part] for name, values in vars(batch.require_heads()).items()})
    return Features(batch.patches[part], batch.pooled[part], heads)


def wrap(*batches: Features) -> TileFeatures:
    """Features as those of square frames of one tile each."""
    n = sum(len(batch.pooled) for batch in batches)
    return TileFeatures(make_frames(n, Geometry.square(64)), iter(batches))


def make_frames(n: int, geometry: Geometry, content_px: tuple[int, int] | None = None) -> Frames:
    pixels = np.zeros((n, *geometry.frame_px, 3), np.uint8)
    return Frames(pixels, np.tile(content_px or geometry.frame_px, (n, 1)), geometry)


def make_features(n: int, shift: float = 0.0, seed: int = 0, has_heads: bool = True) -> TileFeatures:
    return wrap(make_batch(n, shift, seed, has_heads))


def fit_bank(fit: TileFeatures, held_out: TileFeatures, remembered: np.ndarray | None = None) -> CalibratedBank:
    return open_bank(fit, remembered).calibrate(held_out)


def open_bank(fit: TileFeatures, remembered: np.ndarray | None = None) -> ScorerBank:
    """A bank that remembers the patches of these indices, or all."""
    batches = list(fit.batches)
    n_patches = sum(batch.patches.shape[:3].numel() for batch in batches)
    chosen = np.arange(n_patches) if remembered is None else remembered
    return ScorerBank.fit(TileFeatures(fit.frames, iter(batches)), chosen)


@pytest.fixture
def bank() -> CalibratedBank:
    return fit_bank(make_features(30), make_features(12, seed=1))


def test_every_scorer_ranks_far_images_above_near_ones(bank: CalibratedBank) -> None:
    near, far = bank.score(make_features(9, seed=2)).image, bank.score(make_features(9, 8.0, seed=3)).image
    assert set(near) == {"predictor", "decoder", "mahalanobis", "patch_knn", "ensemble"}
    for name in near:
        assert near[name].max() < far[name].min(), name


def test_the_frozen_detector_has_the_training_free_scorers_only() -> None:
    def frozen(n: int, seed: int) -> TileFeatures:
        return make_features(n, seed=seed, has_heads=False)

    scores = fit_bank(frozen(30, 0), frozen(12, 1)).score(frozen(5, 2))
    assert set(scores.image) == {"mahalanobis", "patch_knn", "ensemble"}
    assert set(scores.maps) == {"patch_knn"}


def test_patch_distances_are_those_of_an_exact_search(bank: CalibratedBank) -> None:
    memory, query = make_batch(30).patches.flatten(0, 2), make_batch(5, seed=2)
    search = NearestNeighbors(n_neighbors=1).fit(memory.numpy())
    expected, _ = search.kneighbors(query.patches.flatten(0, 2).numpy())
    np.testing.assert_allclose(bank.score(wrap(query)).maps["patch_knn"].ravel(), expected.ravel(), atol=1e-4)


def test_fewer_images_than_dimensions_still_give_a_finite_distance() -> None:
    rng = torch.Generator().manual_seed(0)
    wide = [
        wrap(Features(torch.randn(n, 2, 2, 3, generator=rng), torch.randn(n, 200, generator=rng)))
        for n in (20, 8, 5)
    ]
    distances = fit_bank(wide[0], wide[1]).score(wide[2]).image["mahalanobis"]
    assert np.isfinite(distances).all()
    assert (distances > 0).all()


def test_scores_of_an_image_do_not_depend_on_its_neighbours(bank: CalibratedBank) -> None:
    both = make_batch(6, seed=4)
    one = take(both, slice(2, 3))
    together = bank.score(wrap(both)).image
    for name, alone in bank.score(wrap(one)).image.items():
        np.testing.assert_allclose(alone, together[name][2:3], rtol=1e-5)


def test_batches_make_no_difference() -> None:
    """Neither to what is remembered nor to what is scored."""
    fit, held_out, query = make_batch(30), make_batch(12, seed=1), make_batch(9, seed=2)

    def cut(batch: Features) -> TileFeatures:
        halves = (slice(0, 4), slice(4, None))
        return wrap(*(take(batch, half) for half in halves))

    chosen = np.arange(0, 480, 5)
    whole = fit_bank(wrap(fit), wrap(held_out), chosen).score(wrap(query))
    parts = fit_bank(cut(fit), cut(held_out), chosen).score(cut(query))
    for name in whole.image:
        np.testing.assert_allclose(whole.image[name], parts.image[name], rtol=1e-5)
    np.testing.assert_allclose(whole.maps["patch_knn"], parts.maps["patch_knn"], rtol=1e-4)


def test_each_calibration_is_as_if_there_were_no_other() -> None:
    """One bank, calibrated on all held-out images and on half of them: to the last bit as two banks."""
    held_out, query = make_batch(12, seed=1), make_batch(9, seed=2)
    half = take(held_out, slice(None, None, 2))
    shared = open_bank(make_features(30))
    first, second = shared.calibrate(wrap(held_out)), shared.calibrate(wrap(half))
    apart = [fit_bank(make_features(30), wrap(batch)).score(wrap(query)).image for batch in (held_out, half)]
    for together, alone in zip((first, second), apart, strict=True):
        scores = together.score(wrap(query)).image
        assert all(np.array_equal(scores[name], alone[name]) for name in alone)
    assert not np.array_equal(apart[0]["ensemble"], apart[1]["ensemble"])


def test_the_bank_remembers_what_it_is_told() -> None:
    def score(remembered: np.ndarray | None) -> np.ndarray:
        bank = fit_bank(make_features(30), make_features(12, seed=1), remembered)
        return bank.score(make_features(4, seed=2)).maps["patch_knn"]

    few = np.arange(0, 480, 7)
    expected, _ = (
        NearestNeighbors(n_neighbors=1)
        .fit(make_batch(30).patches.flatten(0, 2)[few].numpy())
        .kneighbors(make_batch(4, seed=2).patches.flatten(0, 2).numpy())
    )
    np.testing.assert_allclose(score(few).ravel(), expected.ravel(), atol=1e-4)
    assert (score(few) >= score(None) - 1e-5).all()


def test_padding_is_neither_remembered_nor_scored() -> None:
    """Half of each frame is padding whose patches are far away from all else: nobody notices."""
    geometry = Geometry.square(64, keeps_aspect=True)

    def half(n: int, seed: int, is_far: bool) -> TileFeatures:
        batch = make_batch(n, seed=seed)
        if is_far:
            batch.patches[:, 2:] += 100
            batch.require_heads().mask_probability[:, 4:] = 1
        return TileFeatures(make_frames(n, geometry, (32, 64)), iter([batch]))

    remembered = choose_coreset(half(20, 0, is_far=True), most=10_000, seed=0)
    scores = [
        fit_bank(half(20, 0, is_fit_far), half(8, 1, is_far), remembered).score(half(5, 2, is_far)).image
        for is_fit_far, is_far in ((False, False), (True, True), (False, True))
    ]
    for other in scores[1:]:
        for name in ("decoder", "patch_knn", "ensemble"):
            np.testing.assert_allclose(other[name], scores[0][name], rtol=1e-5)


def test_the_most_anomalous_tile_speaks_for_its_image() -> None:
    geometry = Geometry((64, 128), 64, 64)

    def tiled(n: int, seed: int, shift: float = 0.0) -> TileFeatures:
        batch = make_batch(2 * n, seed=seed)
        for values in batch.list_tensors().values():
            values[3] += shift  # the right tile of the second image
        return TileFeatures(make_frames(n, geometry), iter([batch]))

    scores = fit_bank(tiled(20, 0), tiled(8, 1)).score(tiled(4, 2, shift=20.0))
    for name, values in scores.image.items():
        assert values.shape == (4,)
        assert values.argmax() == 1, name
    assert scores.maps["patch_knn"].shape == (4, 4, 8)
    assert scores.maps["patch_knn"][1, :, 4:].min() > scores.maps["patch_knn"][1, :, :4].max()


def test_features_do_not_depend_on_the_batch_and_leave_the_mode_alone() -> None:
    backbone = Backbone("tf_efficientnet_lite0", "offline", (1, 2), None, 64)
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    frames = Frames(images, np.full((5, 2), 64), Geometry.square(64))
    whole, parts = (
        list(extract_features(Detector(backbone), frames, ShrinkingBatch(size, backbone.device)).batches)
        for size in (5, 2)
    )
    patches = torch.cat([part.patches for part in parts])
    torch.testing.assert_close(whole[0].patches, patches, rtol=1e-4, atol=1e-4)
    assert whole[0].heads is None
    settings = AdapterSettings(kind="lora", rank=2, alpha=4.0, targets="attention", adapted_blocks=2)
    with build_detector(backbone, settings, seed=0) as detector:
        detector.train()
        features = next(extract_features(detector, frames, ShrinkingBatch(5, backbone.device)).batches)
        assert detector.training
        assert not backbone.network.training
        assert features.require_heads().mask_probability.shape == (5, 32, 32)


def test_a_scorer_outside_of_the_ensemble_does_not_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def score() -> Scores:
        return fit_bank(make_features(30), make_features(12, seed=1)).score(make_features(5, seed=2))

    constant = Scorer(
        name="constant",
        needs_heads=False,
        has_map=False,
        is_in_ensemble=False,
        compute=lambda _fitted, batch: batch.pooled.sum(dim=1),
    )
    before = score()
    monkeypatch.setattr(scorer_bank, "SCORERS", (*SCORERS, constant))
    after = score()
    assert after.image.keys() == before.image.keys() | {"constant"}
    assert np.array_equal(after.image["ensemble"], before.image["ensemble"])


def test_features_without_heads_cannot_be_asked_for_them() -> None:
    with pytest.raises(ValueError, match="without the heads"):
        make_batch(2, has_heads=False).require_heads()
