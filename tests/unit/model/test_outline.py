"""What is shipped or kept of a backbone is what its network says."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model import measurement, outlines
from anomalyvfm_opt.model.measurement import measure_outline
from anomalyvfm_opt.model.outline import Outline, resolve_indices
from anomalyvfm_opt.model.outlines import find_outline
from tests.unit.model.shipped_outlines import ARCHITECTURES, list_names

OTHER = "vit_tiny_patch16_384"  # which is not shipped
COUNTS = st.integers(1, 4096)
OUTLINES = st.builds(
    Outline,
    block_ends=st.lists(COUNTS).map(tuple),
    reductions=st.lists(COUNTS).map(tuple),
    patch_px=st.none() | COUNTS,
    layers=st.dictionaries(st.text(), COUNTS),
)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_shipped_is_what_the_network_says(name: str) -> None:
    shipped = find_outline(name, 224)
    assert shipped is not None
    side = shipped.patch_px or 16
    for input_px in (224, 20 * side):  # it does not depend on the size of the input
        measured = measure_outline(name, input_px)
        assert measured == shipped
        assert list(measured.layers) == list(shipped.layers)


def test_all_weights_of_a_shipped_model_are_known_by_name() -> None:
    names = {name for architecture in ARCHITECTURES for name in list_names(architecture)}
    assert set(outlines._read_shipped()) == names


def test_what_is_shipped_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_measuring(monkeypatch)
    assert find_outline("vit_giant_patch14_dinov2.lvd142m", 518) is not None


def test_another_model_is_measured_once_for_each_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "outlines"
    first = find_outline(OTHER, 384, folder)
    assert first == measure_outline(OTHER, 384)
    forbid_measuring(monkeypatch)
    assert find_outline(OTHER, 384, folder) == first
    with pytest.raises(AssertionError, match="measured"):
        find_outline(OTHER, 64, folder)


def test_another_version_of_timm_is_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_outline(OTHER, 64, tmp_path)
    forbid_measuring(monkeypatch)
    monkeypatch.setattr(outlines, "version", lambda _: "99.0")
    with pytest.raises(AssertionError, match="measured"):
        find_outline(OTHER, 64, tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"key": {}}', b'{"outline": {}}', b"\xff\xfe"])
def test_a_broken_file_is_measured_and_written_anew(tmp_path: Path, content: bytes) -> None:
    expected = find_outline(OTHER, 64, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(content)
    assert find_outline(OTHER, 64, tmp_path) == expected
    assert file.read_bytes() == whole


def test_a_file_of_another_model_is_not_believed(tmp_path: Path) -> None:
    expected = find_outline(OTHER, 64, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(json.dumps({**json.loads(file.read_text()), "key": {"name": "other"}}))
    assert find_outline(OTHER, 64, tmp_path) == expected


def test_a_host_without_a_state_folder_keeps_nothing(tmp_path: Path) -> None:
    assert find_outline(OTHER, 64, tmp_path / "no" / "outlines") is not None
    assert list(tmp_path.iterdir()) == []


def test_what_timm_does_not_have_is_none_and_not_kept(tmp_path: Path) -> None:
    assert find_outline("no_such_net", 64, tmp_path) is None
    with pytest.raises(UsageError, match="no blocks that can be adapted"):
        find_outline("resnet18", 64, tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(OUTLINES)
def test_an_outline_survives_json(given_outline: Outline) -> None:
    assert Outline.from_json(json.loads(json.dumps(given_outline.to_json()))) == given_outline


@given(st.lists(COUNTS, min_size=1, unique=True).map(sorted), st.data())
def test_blocks_count_from_either_end(ends: list[int], data: st.DataObject) -> None:
    blocks = data.draw(st.lists(st.integers(-len(ends), len(ends) - 1), min_size=1))
    indices, last = resolve_indices("x", ends, blocks)
    assert indices == sorted({range(len(ends))[block] for block in blocks})
    assert last == ends[indices[-1]]
    with pytest.raises(UsageError, match=f"block {len(ends)} is not among the {len(ends)} blocks of x"):
        resolve_indices("x", ends, [*blocks, len(ends)])


def forbid_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, _input_px: int) -> Outline:
        raise AssertionError(f"{name} was measured")

    monkeypatch.setattr(measurement, "measure_outline", refuse)


def test_other_layers_to_adapt_are_looked_for_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = find_outline(OTHER, 64, tmp_path)
    monkeypatch.setattr(outlines, "match_any_target", lambda *, is_transformer: "nothing")
    monkeypatch.setattr(measurement, "measure_outline", lambda _name, _px: None)
    assert first is not None
    assert find_outline(OTHER, 64, tmp_path) is None


def test_a_layer_that_is_several_in_one_is_named() -> None:
    with pytest.raises(UsageError, match=r"mixnet_s: its layer .* is several layers in one \(MixedConv2d\)"):
        measure_outline("mixnet_s", 64)
