"""`detector.onnx`: scores and maps of torch by ONNX Runtime, or nothing is written."""

import contextlib
import io
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from anomalyvfm_opt import load_detector
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.delivery import graph as delivered
from anomalyvfm_opt.delivery.graph import add_graph
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.evaluation.exam import Exam
from anomalyvfm_opt.inference import graph_file
from anomalyvfm_opt.inference.card import Card
from anomalyvfm_opt.inference.folder import read_card, write_card
from anomalyvfm_opt.inference.graph_file import pack_graph, refuse_without_graph, require_exporter
from anomalyvfm_opt.inference.graph_proof import check_graph
from anomalyvfm_opt.inference.selftest import measure_difference, read_frames
from tests.unit.inference.folders import FAMILIES, Exported, export
from tests.unit.training.detectors import KINDS

SCORERS = ("predictor", "decoder", "mahalanobis", "patch_knn", "ensemble")
# Of every adapter the ensemble, which is made of all scorers; alone, each of them with one adapter and without.
CASES = [
    (family, kind, scorer)
    for family in FAMILIES
    for kind in (None, *KINDS)
    for scorer in SCORERS
    if scorer == "ensemble" or kind == "lora" or (kind is None and scorer not in ("predictor", "decoder"))
]
QUICK = [("vit", "lora", "ensemble"), ("vit", None, "mahalanobis")]
PADDED_TILES = Geometry((96, 128), 64, 32, keeps_aspect=True)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A folder without a graph."""
    return export(tmp_path_factory.mktemp("frozen") / "detector", "vit", None)


@pytest.fixture(scope="module")
def graph(frozen: Exported) -> bytes:
    """The graph of that folder's detector."""
    with load_detector(frozen.folder, device="cpu") as detector, detector.traced() as traced:
        return pack_graph(traced, "a network")


def copy(made: Exported, folder: Path) -> Exported:
    """The same folder elsewhere, to be changed."""
    shutil.copytree(made.folder, folder)
    return replace(made, folder=folder)


def make_exam(made: Exported) -> Exam:
    """An exam of the self-test's frames, whose labels do not matter."""
    with load_detector(made.folder, device="cpu") as detector:
        frames = read_frames(detector)
    count = len(frames)
    return Exam(
        keys=tuple(f"brick/bad/{index}.png" for index in range(count)),
        images=frames,
        labels=np.arange(count) % 2,
        masks=np.zeros((count, *frames.geometry.frame_px), np.uint8),
        is_masked=np.ones(count, bool),
        calibration=frames,
        clusters=tuple(map(str, range(count))),
    )


def add(made: Exported) -> Card:
    """Put the graph in, as `model export --onnx` does."""
    card = read_card(made.folder)
    said: list[str] = []
    exam = make_exam(made)
    whole = add_graph(made.folder, card, exam, made.scores.image[card.scoring.scorer], None, said.append)
    write_card(made.folder, whole)
    assert said == ["writing detector.onnx and scoring 4 images by it"]
    return whole


def open_session(folder: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(folder / "detector.onnx", providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("family", "kind", "scorer"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_scores_of_every_adapter_and_scorer_are_torchs(
    tmp_path: Path, family: str, kind: str | None, scorer: str
) -> None:
    made = export(tmp_path / "detector", family, kind, scorer)
    card = add(made)
    assert card.onnx is not None
    assert card.onnx.proof["largest_difference"] < 1e-4
    assert card.onnx.proof["largest_difference_from_trial"] < 1e-4
    assert card.onnx.proof["auroc"]["torch"] == card.onnx.proof["auroc"]["onnx"]
    session = open_session(made.folder)
    for count in (1, 3, 4):
        score, heat = session.run(["score", "map"], {"images": made.pixels[:count]})
        assert (score.dtype, score.shape) == (np.float32, (count,))
        assert heat.shape == (count, *card.onnx.outputs["map"].shape[1:])
        wanted = made.scores.image[scorer]
        assert measure_difference(wanted, np.append(score, wanted[count:])).max() < 1e-4
        np.testing.assert_allclose(
            heat[:, 0], made.scores.maps[card.scoring.map_scorer][:count], rtol=1e-4, atol=1e-4
        )
    assert check_graph(made.folder, None).problem is None


@pytest.mark.slow
@pytest.mark.parametrize("scorer", SCORERS)
def test_tiles_and_padding_are_in_the_graph(tmp_path: Path, scorer: str) -> None:
    made = export(tmp_path / "detector", "vit", "lora", scorer, geometry=PADDED_TILES)
    card = add(made)
    assert card.onnx is not None
    assert card.onnx.proof["batches"] == (1, 2)
    assert list(card.onnx.inputs) == ["images", "content_px"]
    assert card.onnx.proof["largest_difference_from_trial"] < 1e-4
    assert check_graph(made.folder, None).problem is None


@pytest.mark.parametrize(
    "geometry", [None, pytest.param(Geometry((64, 64), 64, 64, keeps_aspect=True), marks=pytest.mark.slow)]
)
def test_the_guides_code_gives_the_score_that_predict_gives(tmp_path: Path, geometry: Geometry | None) -> None:
    made = export(tmp_path / "detector", "vit", "lora", geometry=geometry)
    add(made)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(made.folder / "a.png")
    code = re.findall(r"```python\n(.*?)```", (made.folder / "README.md").read_text(), re.DOTALL)[1]
    printed, names = io.StringIO(), {}
    with contextlib.chdir(made.folder), contextlib.redirect_stdout(printed):
        exec(code, names)  # noqa: S102 - the guide's own
    with load_detector(made.folder, device="cpu") as detector:
        (wanted,) = detector.predict([made.folder / "a.png"])
    assert printed.getvalue().strip() == f"{names['score'][0]!s} (4, 4)"
    assert abs(names["score"][0] - wanted.score) < 1e-4 * wanted.score
    heat = names["heat"][0, 0][: wanted.map.shape[0], : wanted.map.shape[1]]
    np.testing.assert_allclose(heat, wanted.map, rtol=1e-4, atol=1e-4)


def test_the_file_says_nothing_of_the_host_and_is_the_same_again(frozen: Exported, graph: bytes) -> None:
    with load_detector(frozen.folder, device="cpu") as detector, detector.traced() as traced:
        assert pack_graph(traced, "a network") == graph
    assert str(Path(graph_file.__file__).parent).encode() not in graph
    assert b".py" not in graph
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", graph_file.OPSET)]


def test_a_detector_is_as_it_was_after_it_was_written_as_a_graph(tmp_path: Path) -> None:
    made = export(tmp_path / "detector", "vit", "dora")
    with load_detector(made.folder, device="cpu") as detector:
        before = [one.score for one in detector.predict(list(made.pixels))]
        with detector.traced() as graph:
            pack_graph(graph, "a network")
        assert [one.score for one in detector.predict(list(made.pixels))] == before
        assert not detector._detector.training


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda content: add_to_output(content, "score", 0.01),
            "does not give torch's scores and maps by the graph",
        ),
        (lambda content: add_to_output(content, "map", 1.0), "of the map of brick/bad/"),
        (lambda content: content[: len(content) // 2], "cannot run the graph"),
    ],
)
def test_a_graph_that_gives_other_scores_is_refused(
    frozen: Exported,
    graph: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[bytes], bytes],
    said: str,
) -> None:
    made = copy(frozen, tmp_path / "detector")
    before = sorted(path.name for path in made.folder.iterdir())
    monkeypatch.setattr(delivered, "pack_graph", lambda *_: spoil(graph))
    with pytest.raises(EnvironmentMissingError, match=said) as refused:
        add(made)
    if "cannot run" not in said:
        assert re.search(r"has [\d.]+ by patch_knn, and should have [\d.]+", refused.value.message)
    assert sorted(path.name for path in made.folder.iterdir()) == before


def add_to_output(content: bytes, name: str, value: float) -> bytes:
    """Have a graph give a little more than it should."""
    model = onnx.load_from_string(content)
    for node in model.graph.node:
        node.output[:] = [f"{name}_before" if output == name else output for output in node.output]
    more = onnx.helper.make_tensor("more", onnx.TensorProto.FLOAT, [], [value])
    model.graph.initializer.append(more)
    model.graph.node.append(onnx.helper.make_node("Add", [f"{name}_before", "more"], [name]))
    changed: bytes = model.SerializeToString()
    return changed


def test_another_auroc_is_refused_with_both(
    frozen: Exported, graph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = copy(frozen, tmp_path / "detector")
    values = iter([0.75, 0.7])
    monkeypatch.setattr(delivered, "pack_graph", lambda *_: graph)
    monkeypatch.setattr(delivered, "auroc", lambda *_: next(values))
    with pytest.raises(
        EnvironmentMissingError, match=r"an AUROC of 0\.700000 by ONNX Runtime .* 0\.750000 by torch"
    ):
        add(made)
    assert not (made.folder / "detector.onnx").exists()


def test_a_number_of_frames_that_was_taken_for_a_constant_is_noticed(
    frozen: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = copy(frozen, tmp_path / "detector")
    monkeypatch.setattr("torch.export.Dim", lambda _name: None)
    with pytest.raises(EnvironmentMissingError, match=r"cannot run the graph: .*Got: 4 Expected: 2"):
        add(made)


def test_a_graph_that_is_too_large_for_a_file_is_refused(
    frozen: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = copy(frozen, tmp_path / "detector")
    monkeypatch.setattr(graph_file, "_LARGEST", 1000)
    with pytest.raises(UsageError, match="GiB of constants, and an ONNX file holds 2 GiB"):
        add(made)


def test_a_network_that_cannot_be_written_is_named(
    frozen: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = copy(frozen, tmp_path / "detector")
    (knn,) = [one for one in graph_file.SCORERS if one.name == "patch_knn"]
    monkeypatch.setitem(vars(knn), "trace", lambda _fitted, batch: batch.patches[: int(batch.patches.sum())])
    with pytest.raises(UsageError, match=r"cannot write test_vit.r160_in1k as an ONNX graph: \w+"):
        add(made)


def test_a_scorer_without_a_graph_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for scorer in SCORERS:
        refuse_without_graph(scorer, "patch_knn", has_heads=True)
    (knn,) = [one for one in graph_file.SCORERS if one.name == "patch_knn"]
    monkeypatch.setitem(vars(knn), "trace", None)
    with pytest.raises(UsageError, match="the scorer patch_knn cannot be written as an ONNX graph") as refused:
        refuse_without_graph("patch_knn", "patch_knn", has_heads=True)
    assert "one of predictor, decoder, mahalanobis" in refused.value.hint
    for scorer in ("ensemble", "mahalanobis"):
        with pytest.raises(UsageError, match=f"the scorer patch_knn, which {scorer} is given with, cannot"):
            refuse_without_graph(scorer, "patch_knn", has_heads=True)
    refuse_without_graph("decoder", "decoder", has_heads=True)


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    require_exporter()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EnvironmentMissingError, match=f"library {name}, which cannot be imported") as refused:
        require_exporter()
    assert refused.value.hint == "pip install 'anomalyvfm-opt[onnx]'"


def test_the_card_and_the_file_belong_together(
    frozen: Exported, graph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = copy(frozen, tmp_path / "detector")
    monkeypatch.setattr(delivered, "pack_graph", lambda *_: graph)
    card = add(made)
    assert "`detector.onnx`" in (made.folder / "README.md").read_text()
    write_card(made.folder, card.model_copy(update={"onnx": None}))
    with pytest.raises(UsageError, match=r"has only one of detector\.onnx and what it says of it"):
        read_card(made.folder)
    write_card(made.folder, card)
    (made.folder / "detector.onnx").write_bytes(b"another")
    with pytest.raises(UsageError, match=r"detector\.onnx has 7 bytes"):
        read_card(made.folder)
