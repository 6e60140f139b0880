"""What every study runs for comparison, as the first experiment defined it (AnomalyVFM v1.1 and v1.2)."""

from dataclasses import replace

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.space import NO_ADAPTER

FROZEN = "frozen"
HEADS = "heads"

# category -> (rank, alpha, epochs, learning rate, (texture, structural, contextual) counts, noise of 255)
_MEDIUM = (16, 32, 10, 1e-4, (30, 30, 30), 30)
_HIGH_TEXTURE = (32, 64, 12, 8e-5, (40, 25, 25), 35)
_HIGH_PERFORMANCE = (8, 16, 6, 1.5e-4, (20, 35, 35), 20)
_V1_2_RULE = {
    "fruit_jelly": _HIGH_TEXTURE,
    "walnuts": _HIGH_TEXTURE,
    "fabric": _HIGH_PERFORMANCE,
    "vial": _HIGH_PERFORMANCE,
}
_INTENSITY_OF_NOISE = {20: 0.67, 30: 1.0, 35: 1.17}


def reference_parameters(name: str, category: str, image_size_px: int) -> Parameters | None:
    """Return the parameters of a reference, for `Spec.reference`; None for `frozen`, which has no adapter.

    Args:
        name: `frozen`, `heads` (those of v1.1, trained on the frozen network), `v1.1` (one setting for all) or
            `v1.2` (a rule by category; unknown ones are medium).
        category: the name of the product, as its folder is called.
        image_size_px: that it is run at: the spec's own.

    Raises:
        KeyError: no such reference.
    """
    if name == FROZEN:
        return None
    if name == HEADS:
        adapted = reference_parameters("v1.1", category, image_size_px)
        return None if adapted is None else replace(adapted, adapter=NO_ADAPTER)
    settings = {"v1.1": _MEDIUM, "v1.2": _V1_2_RULE.get(category, _MEDIUM)}[name]
    rank, alpha, epochs, lr, counts, noise = settings
    texture, structural, contextual = (count / sum(counts) for count in counts)
    return Parameters(
        adapter="lora",
        rank=rank,
        alpha_ratio=alpha / rank,
        targets="attention",
        adapted_blocks="all",
        epochs=epochs,
        learning_rate=lr,
        texture=texture,
        structural=structural,
        contextual=contextual,
        synthesis_count=sum(counts),
        synthesis_intensity=_INTENSITY_OF_NOISE[noise],
        image_size_px=image_size_px,
    )
