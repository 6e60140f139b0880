"""What trials of a study may choose, and the plain trial that the probe compares these choices with."""

from dataclasses import replace

from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import HEADS
from anomalyvfm_opt.spec.space import NO_ADAPTER


def choose_base(spec: Spec, synthesis_count: int) -> Parameters:
    """Return plain LoRA for one epoch, with what the dearest dropout costs.

    Args:
        spec: of the study.
        synthesis_count: synthetic anomalies that it trains on.
    """
    base = spec.reference("v1.1", "")
    if base is None:
        raise ValueError("the reference v1.1 has no parameters")
    return replace(base, epochs=1, synthesis_count=synthesis_count, dropout=max(spec.search.space.dropout))


def list_adapters(spec: Spec) -> tuple[str, ...]:
    """List all adapters that trials may have, `none` among them where a reference has it."""
    of_references = (NO_ADAPTER,) if HEADS in spec.references else ()
    return tuple(dict.fromkeys((*spec.search.space.adapter, *of_references)))


def list_choices(spec: Spec, base: Parameters) -> set[tuple[str, int | str]]:
    """List all targets and adapted blocks that trials may have, those of the plain trial among them."""
    space = spec.search.space
    return {
        (targets, blocks)
        for targets in (base.targets, *space.targets)
        for blocks in (base.adapted_blocks, *space.adapted_blocks)
    }
