"""The outlines that are shipped. To write them anew:

python -m tests.unit.model.shipped_outlines > anomalyvfm_opt/model/outlines.json
"""

import json

import timm

from anomalyvfm_opt.model.measurement import measure_outline

ARCHITECTURES = (
    "tf_efficientnet_lite0",
    "vit_tiny_patch16_224",
    *(f"vit_{size}_patch14_dinov2" for size in ("small", "base", "large", "giant")),
    *(f"vit_{size}_patch14_reg4_dinov2" for size in ("small", "base", "large", "giant")),
    *(f"vit_{size}_patch16_dinov3" for size in ("small", "small_plus", "base", "large", "huge_plus")),
)


def list_names(architecture: str) -> list[str]:
    """Without a tag, and with each that timm has weights for."""
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    return [architecture, *(name for name in tagged if name.split(".")[0] == architecture)]


def main() -> None:
    lines = []
    for architecture in ARCHITECTURES:
        outline = measure_outline(architecture, 224)
        assert outline is not None
        lines.append(json.dumps({"names": list_names(architecture), "outline": outline.to_json()}))
    print("[\n" + ",\n".join(lines) + "\n]")


if __name__ == "__main__":
    main()
