"""What frozen blocks make of images: the same bits, whether it was kept, computed, or some of each."""

from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from anomalyvfm_opt.errors import DoesNotFitError
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone, FeatureMaps
from anomalyvfm_opt.model.detector import Detector, Output, build_detector
from anomalyvfm_opt.model.prefix import Prefix
from anomalyvfm_opt.model.prefix_store import PrefixStore
from tests.unit.model.prefixes import (
    NETWORKS,
    SMALL,
    counted,
    draw_images,
    list_files,
    open_backbone,
    open_store,
)

BATCH = 8  # images that go through the prefix at once
BATCHES = [
    [0],
    [1, 0],
    [2, 2, 2],
    [3, 1, 0, 2],
    [4, 5, 6, 7, 8],
    [8, 0] * 3,
    [*range(7)],
    [*range(8)],
    [*range(9)],
]


@pytest.fixture(scope="module", params=NETWORKS)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return open_backbone(*NETWORKS[request.param])


@pytest.fixture
def small() -> Backbone:
    return open_backbone(*SMALL)


def are_equal(one: Mapping[int, Tensor], other: Mapping[int, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[end], other[end]) for end in one)


def compute(backbone: Backbone, prefix: Prefix, images: Tensor) -> FeatureMaps:
    with torch.no_grad():
        return backbone.features(backbone.blank(len(images)), prefix.outputs(images, keep=True))


def list_cuts(backbone: Backbone) -> list[int]:
    """All blocks, all but two, between the features; and one alone, before any feature."""
    return [backbone.n_blocks, backbone.n_blocks - 2, 1]


def test_outputs_are_the_same_without_a_store_cold_warm_and_half_warm(backbone: Backbone, tmp_path: Path) -> None:
    images = draw_images(9, backbone.image_size_px)
    for blocks in list_cuts(backbone):
        bare = Prefix(backbone, blocks, None).outputs(images, keep=True)
        store, half = (open_store(tmp_path / f"{name}-{blocks}") for name in ("whole", "half"))
        cold = Prefix(backbone, blocks, store).outputs(images, keep=True)
        warm = Prefix(backbone, blocks, store)
        with counted(backbone) as ran:
            assert are_equal(warm.outputs(images, keep=True), bare)
        assert not ran
        assert (warm.read, warm.computed) == (9, 0)
        assert are_equal(cold, bare)
        Prefix(backbone, blocks, half).outputs(images[[6, 2, 4]], keep=True)
        half_warm = Prefix(backbone, blocks, half)
        assert are_equal(half_warm.outputs(images, keep=True), bare)
        assert (half_warm.read, half_warm.computed) == (3, 6)


def test_features_are_those_of_a_whole_pass(backbone: Backbone, tmp_path: Path) -> None:
    """Bit for bit in a batch of the same size; matrix products of other shapes differ in their last bits."""
    images = draw_images(BATCH, backbone.image_size_px)
    with torch.no_grad():
        whole = astuple(backbone.features(backbone.normalise(images)))
    for blocks in list_cuts(backbone):
        for _ in ("cold", "warm"):
            features = astuple(compute(backbone, Prefix(backbone, blocks, open_store(tmp_path)), images))
            assert all(torch.equal(*pair) for pair in zip(features, whole, strict=True)), blocks


def test_an_image_has_one_output_whatever_batch_it_is_in(backbone: Backbone, tmp_path: Path) -> None:
    images, blocks = draw_images(9, backbone.image_size_px), backbone.n_blocks - 1
    whole = Prefix(backbone, blocks, None).outputs(images, keep=True)
    for number, rows in enumerate(BATCHES):
        expected = {end: output[rows] for end, output in whole.items()}
        store = open_store(tmp_path / str(number))
        for place in (None, store, store):
            assert are_equal(Prefix(backbone, blocks, place).outputs(images[rows], keep=True), expected), rows
        assert len(list_files(store)) == len(set(rows)) * len(whole)


def test_a_deeper_cut_is_computed_from_a_shallower_one(backbone: Backbone, tmp_path: Path) -> None:
    images, deep = draw_images(5, backbone.image_size_px), backbone.n_blocks
    whole = Prefix(backbone, deep, None).outputs(images, keep=True)
    store, shallow = open_store(tmp_path), deep - 2
    Prefix(backbone, shallow, store).outputs(images, keep=True)
    with counted(backbone) as ran:
        assert are_equal(Prefix(backbone, deep, store).outputs(images, keep=True), whole)
    # below lies, kept with the cut, the feature that the decoder reads; so nothing below the cut runs again
    assert ran == dict.fromkeys(range(shallow + 1, deep + 1), 1)


def test_a_cut_below_serves_only_the_images_that_have_it(small: Backbone, tmp_path: Path) -> None:
    images, deep = draw_images(5, small.image_size_px), small.n_blocks
    whole = Prefix(small, deep, None).outputs(images, keep=True)
    store = open_store(tmp_path)
    Prefix(small, deep - 2, store).outputs(images[:4], keep=True)
    with counted(small) as ran:  # one lacks it, in the same batch: all blocks run
        assert are_equal(Prefix(small, deep, store).outputs(images, keep=True), whole)
    assert ran == dict.fromkeys(range(1, deep + 1), 1)


def test_a_shallower_cut_that_is_not_whole_is_passed_over(small: Backbone, tmp_path: Path) -> None:
    images, deep = draw_images(3, small.image_size_px), small.n_blocks
    whole = Prefix(small, deep, None).outputs(images, keep=True)
    store = open_store(tmp_path)
    Prefix(small, 1, store).outputs(images, keep=True)
    spoilt, *_ = list_files(store)
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    with counted(small) as ran:
        assert are_equal(Prefix(small, deep, store).outputs(images, keep=True), whole)
    assert ran == dict.fromkeys(range(1, deep + 1), 1)
    assert not spoilt.exists()  # nobody asks for it now


def test_no_file_stays_open_and_no_map_is_held(small: Backbone, tmp_path: Path) -> None:
    """A process has 1024 descriptors on many hosts, and a training more images."""
    images, store = draw_images(32, small.image_size_px), open_store(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in ("cold", "warm"):
        outputs = Prefix(small, small.n_blocks, store).outputs(images, keep=True)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(list_files(store)) == 3 * len(images)
    assert str(store.folder) not in Path("/proc/self/maps").read_text()
    assert outputs.keys() == {2, small.n_blocks - 1, small.n_blocks}


def test_images_that_are_never_seen_again_are_not_kept(small: Backbone, tmp_path: Path) -> None:
    images, store = draw_images(3, small.image_size_px), open_store(tmp_path)
    prefix = Prefix(small, 2, store)
    assert are_equal(prefix.outputs(images, keep=False), Prefix(small, 2, None).outputs(images, keep=False))
    assert list_files(store) == []
    assert prefix.describe() == {"blocks": 2, "store": "kept", "read": 0, "computed": 3}


def test_the_way_is_told(small: Backbone, tmp_path: Path) -> None:
    images = draw_images(3, small.image_size_px)
    full = Prefix(small, 2, open_store(tmp_path / "full", max_bytes=1))
    bare = Prefix(small, 2, None)
    for prefix in (full, bare):
        prefix.outputs(images, keep=True)
    assert full.describe() == {"blocks": 2, "store": "full", "read": 0, "computed": 3}
    assert bare.describe() == {"blocks": 2, "store": "none", "read": 0, "computed": 3}


def test_what_an_output_depends_on_is_in_its_name(tmp_path: Path) -> None:
    """Files of one network, size and number of threads are not taken for those of another."""
    cnn = open_backbone(*NETWORKS["cnn-64"])
    store = open_store(tmp_path)

    def fill(backbone: Backbone, blocks: int = 2) -> int:
        prefix = Prefix(backbone, blocks, store)
        prefix.outputs(draw_images(2, backbone.image_size_px), keep=True)
        return prefix.computed

    changed = Backbone("test_vit", "random", (1,), (-2, -1), 32)
    changed.weights_sha256 = "0" * 64
    threads = torch.get_num_threads()
    assert [fill(cnn), fill(cnn)] == [2, 0]
    assert [fill(cnn.at_size(32)), fill(cnn.at_size(32))] == [2, 0]
    assert [fill(open_backbone(*SMALL)), fill(open_backbone(*SMALL))] == [2, 0]
    assert [fill(changed), fill(open_backbone("test_vit.r160_in1k", 32))] == [2, 2]
    torch.set_num_threads(threads + 1)
    try:
        assert [fill(cnn), fill(cnn)] == [2, 0]
    finally:
        torch.set_num_threads(threads)
    assert [fill(cnn), fill(cnn, blocks=3), fill(cnn, blocks=3)] == [0, 2, 0]


def test_too_little_memory_makes_batches_of_another_name(
    small: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that is too small cannot be had here: the error that torch raises then is put in its place."""
    images, store, most = draw_images(7, small.image_size_px), open_store(tmp_path), 3
    run_blocks = Backbone.run_blocks

    def refuse(self: Backbone, x: Tensor, *others: Any) -> dict[int, Tensor]:
        if len(x) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run_blocks(self, x, *others)

    monkeypatch.setattr(Backbone, "run_blocks", refuse)
    shrunk = Prefix(small, 2, store)
    outputs = shrunk.outputs(images, keep=True)
    monkeypatch.undo()
    whole = Prefix(small, 2, store)
    torch.testing.assert_close(whole.outputs(images, keep=True)[2], outputs[2])
    assert (whole.read, whole.computed) == (0, 7)
    monkeypatch.setattr(Backbone, "run_blocks", refuse)
    most = 0
    with pytest.raises(DoesNotFitError):
        Prefix(small, 2, None).outputs(images, keep=True)


@pytest.mark.parametrize(("kind", "adapted_blocks"), [("lora", 1), ("dora", 2), ("adalora", 2)])
def test_an_adapted_network_gives_the_same_with_a_prefix_and_learns_the_same(
    backbone: Backbone, kind: str, adapted_blocks: int, tmp_path: Path
) -> None:
    images, store = draw_images(BATCH, backbone.image_size_px), open_store(tmp_path)
    settings = AdapterSettings(
        kind=kind, rank=2, alpha=4.0, targets="attention_mlp", adapted_blocks=adapted_blocks
    )

    def look(place: PrefixStore | None, has_prefix: bool) -> tuple[Output, list[Tensor | None]]:
        def open_prefix(network: Backbone, blocks: int) -> Prefix | None:
            assert blocks > 0
            return Prefix(network, blocks, place) if has_prefix else None

        with build_detector(backbone, settings, 1, 4, open_prefix) as detector:
            output = detector(images)
            (output.patches.square().mean() + output.pooled.square().mean()).backward()
            gradients = [p.grad for p in detector.adapter_parameters()]
        assert not any("forward" in module.__dict__ for module in backbone.network.modules())
        return output, gradients

    whole = look(None, has_prefix=False)
    for each in (look(None, has_prefix=True), look(store, has_prefix=True), look(store, has_prefix=True)):
        assert torch.equal(each[0].patches, whole[0].patches)
        assert torch.equal(each[0].pooled, whole[0].pooled)
        for ours, theirs in zip(each[1], whole[1], strict=True):
            assert (ours is None) == (theirs is None)
            assert ours is None or theirs is None or torch.equal(ours, theirs)
    assert len(list_files(store)) > 0
    frozen = Detector(backbone, prefix=Prefix(backbone, backbone.n_blocks, store))
    assert torch.equal(frozen(images).patches, Detector(backbone)(images).patches)
