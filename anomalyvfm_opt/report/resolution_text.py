"""The smallest gain that locked images could show, in words: the same whichever command says it."""

from anomalyvfm_opt.verdict.resolution import ASSUMED_AUROC, SEED_SD, Resolution, Resolutions


def describe_resolutions(found: Resolutions) -> list[str]:
    """Say what the locked images could show, a line each.

    Of all categories of a spec it is the mean that decides first; of some of them there is none, and each stands
    for itself.
    """
    if found.is_whole:
        of = f"the mean over these {found.judged} categories" if found.judged > 1 else "this category"
        return [_describe(of, found.mean)]
    share = f", at a level for the {found.judged} categories of the spec"
    return [_describe(f"{category}{share}", one) for category, one in found.each.items()]


def _describe(of: str, resolution: Resolution | None) -> str:
    if resolution is None:
        return f"the locked images are of too few scenes to show any gain for {of}: a verdict will be inconclusive"
    gain = resolution.smallest_gain
    return (
        f"smallest gain that the locked images could show for {of}: about {gain:.3f} AUROC, if detectors score"
        f" {ASSUMED_AUROC:g} and seeds spread {SEED_SD:g}; a verdict goes by what it measures"
    )
