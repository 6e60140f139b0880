"""`README.md` of a detector's folder: what it is and how it is used, for whoever finds it."""

from collections.abc import Mapping
from typing import Any

from anomalyvfm_opt import __version__
from anomalyvfm_opt.inference.card import Card, GraphCard
from anomalyvfm_opt.words import counted

_TEXT = """# A detector of visual anomalies

{origin}

It gives each image a raw score: the higher, the more anomalous. Scores are by `{scorer}`, maps by `{map_scorer}`.

## Use it

With anomalyvfm_opt {version} installed, which wrote it:

```sh
anomalyvfm-opt model check .          # does it give here what it gave where it was made?
anomalyvfm-opt predict . IMAGES --out results --overlays
```

```python
from anomalyvfm_opt import load_detector

with load_detector(".") as detector:
    for prediction in detector.predict(["a.png", "b.png"]):
        print(prediction.image, prediction.score, prediction.p_normal, prediction.is_anomalous)
        heat = prediction.map_at_image()  # float32 (h, w)
```

{graph}## What is called anomalous

{thresholds}

## The files

| file | what it holds |
|---|---|
| `detector.json` | what it belongs to, how images are resized, thresholds, the sha256 of each file |
{rows}
Weights of the backbone: {weights}

The self-test holds {tested} of the study's images: hand the folder on only to those who may see them.
"""
_GRAPH = """## Use it without this program

`detector.onnx` needs ONNX Runtime alone (here with NumPy, and Pillow to open and resize images):

```python
import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("detector.onnx")
image = Image.open("a.png").convert("RGB")
{framing}
score, heat = session.run(["score", "map"], {inputs})
print(score[0], heat[0, 0].shape)
```

- `images`: uint8 (n, {height}, {width}, 3), any number of frames: R, G, B of 0 to 255, row by row. The graph
  normalises them itself. The resize is bicubic and antialiased, as Pillow's; another one gives other scores.
{content}- `score`: float32 (n,), raw. `map`: float32 (n, 1, {rows}, {columns}), raw, in coarse cells: bring it
  to the image's size with bilinear interpolation.{cells}
- Pixels must be RGB of 8 bits before the resize. `predict` also turns photographs as their EXIF orientation says,
  divides grey of 16 bits by 257, and makes transparent pixels black.

On {images} images its scores lie within {difference:.1g} of torch's in float32 (relative; {allowed:g} was
allowed), and within {from_trial:.1g} of those that the trial stored.

"""
_STRETCHED = "image = image.resize(({width}, {height}), Image.Resampling.BICUBIC)"
_KEPT = """scale = min({width} / image.width, {height} / image.height)
size = min(round(scale * image.width), {width}), min(round(scale * image.height), {height})
frame = Image.new("RGB", ({width}, {height}), {padding})
frame.paste(image.resize(size, Image.Resampling.BICUBIC))"""
_CONTENT = """\
- `content_px`: int64 (n, 2), height and width of each image in its frame. An image keeps its proportions: it lies
  at the top left, and the rest is padding in R, G, B {padding}.
"""
_ROWS = {
    "adapter/": "the adapter, in peft's format: `PeftModel.from_pretrained` on the timm network loads it",
    "heads.safetensors": "decoder and predictor",
    "memory.safetensors": "what the scorers remember of normal images, and scores of held-out ones",
    "selftest.npz": "a few images with their scores and maps",
    "detector.onnx": "network, adapter, heads and scorer as one ONNX graph",
    "backbone.safetensors": "the weights of the backbone",
}


def write_guide(card: Card, has_backbone: bool, tested: int) -> str:
    """Return the text.

    Args:
        card: of the detector.
        has_backbone: whether the weights are in the folder.
        tested: images in the self-test.
    """
    names = ["adapter/"] if card.adapter and card.adapter.settings.changes_network else []
    names += ["heads.safetensors"] if card.adapter else []
    names += ["memory.safetensors", "selftest.npz"]
    names += [*(["detector.onnx"] if card.onnx else []), *(["backbone.safetensors"] if has_backbone else [])]
    return _TEXT.format(
        version=__version__,
        origin=_name_origin(card),
        scorer=card.scoring.scorer,
        map_scorer=card.scoring.map_scorer,
        graph=_describe_graph(card, card.onnx) if card.onnx else "",
        thresholds="\n".join(describe_thresholds(card)),
        rows="".join(f"| `{name}` | {_ROWS[name]} |\n" for name in names),
        weights=_name_weights(card, has_backbone),
        tested=tested,
    )


def _describe_graph(card: Card, graph: GraphCard) -> str:
    geometry, proof = card.geometry, graph.proof
    (height, width), padding = geometry.frame_px, geometry.padding_rgb
    rows, columns = graph.outputs["map"].shape[2:]
    framing, inputs = _STRETCHED, '{"images": np.asarray(image)[None]}'
    if geometry.keeps_aspect:
        framing = _KEPT
        inputs = '{"images": np.asarray(frame)[None], "content_px": np.array([size[::-1]])}'
    return _GRAPH.format(
        framing=framing.format(width=width, height=height, padding=padding),
        inputs=inputs,
        height=height,
        width=width,
        content=_CONTENT.format(padding=padding) if geometry.keeps_aspect else "",
        cells=" Cells of mere padding mean nothing." if geometry.keeps_aspect else "",
        rows=rows,
        columns=columns,
        images=proof["images"],
        difference=proof["largest_difference"],
        allowed=proof["allowed"],
        from_trial=proof["largest_difference_from_trial"],
    )


def describe_thresholds(card: Card) -> list[str]:
    """Return what the thresholds promise, a sentence or two a line."""
    found = card.thresholds
    if found.score is None:
        lines = [f"There is no threshold: {found.refused}."]
    else:
        lines = [
            f"A score above {found.score:.6g}: at most {found.false_positives:.3g} of normal scenes lie there, if"
            f" they are like the {found.scenes} held-out ones, of which it is number {found.rank} from the lowest."
        ]
    if found.caveat:
        lines.append(f"But {found.caveat}.")
    if found.best_f1 is not None:
        best = found.best_f1
        lines.append(
            f"On the {best.good} good and {best.bad} bad images that were searched on, F1 is best"
            f" ({best.f1:.3f}) above {best.threshold:.6g} (95 % interval {best.low:.6g} to {best.high:.6g}); of"
            " new images that promises nothing."
        )
    return lines


def _name_origin(card: Card) -> str:
    study, trial = card.provenance.get("study"), card.provenance.get("trial")
    made = f"{card.backbone.name} with {_name_adapter(card)}"
    if not study:
        return f"{made}."
    return f"{made}, from trial {trial} of the study `{study}`.{_describe_verdict(card.provenance)}"


def _name_adapter(card: Card) -> str:
    if card.adapter is None:
        return "no adapter"
    settings = card.adapter.settings
    return (
        f"{settings.kind} of rank {settings.rank}" if settings.changes_network else "trained heads and no adapter"
    )


def _describe_verdict(provenance: Mapping[str, Any]) -> str:
    """Return what the study's confirmation found, for the end of a paragraph; empty where nothing is known."""
    found = provenance.get("verdict") or {}
    if "missing" in found:
        return " No confirmation has judged it on images that the search never saw."
    if "verdict" not in found:
        return ""
    gain = found["gain"]
    about = "" if found["is_about_this_trial"] else ", which is another trial than this"
    size = (
        "the gain is not known"
        if gain["estimate"] is None
        else f"image AUROC {gain['estimate']:+.4f} ({found['confidence']:.0%} interval"
        f" {gain['low']:+.4f} to {gain['high']:+.4f}; {counted(found['seeds'], 'seed')})"
    )
    return (
        f" Verdict of confirmation round {found['round']}: {found['verdict']}. {found['finalist']}{about}, against"
        f" {found['baseline']}: {size}."
    )


def _name_weights(card: Card, has_backbone: bool) -> str:
    known = card.backbone
    where = "in `backbone.safetensors`" if has_backbone else f"not in this folder; they are `{known.weights}`"
    return f"{known.name}, {where}. They are known by their hash, `{known.weights_sha256[:12]}...`."
