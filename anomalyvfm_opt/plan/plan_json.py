"""The `study plan --json` object."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from anomalyvfm_opt.plan.reckoning import CostPlan
from anomalyvfm_opt.verdict.resolution import Resolution


def to_json(found: CostPlan, device: str, folder: Path) -> dict[str, Any]:
    """Return the `study plan --json` object (schema 1)."""
    making = next(iter(found.probe.making.values()))
    return {
        "schema": 1,
        "device": device,
        "studies": [
            {
                "name": study.name,
                "trials": study.trials,
                "done": study.done,
                "seconds": asdict(study.seconds),
                "confirm_seconds": asdict(study.confirm_seconds),
                "total_seconds": asdict(study.total_seconds),
                "start_seconds": study.start_seconds,
                "cache_bytes": study.cache_bytes,
                "output_images": study.outputs.images,
                "output_bytes": study.outputs.n_bytes,
                "is_decoded": study.is_decoded,
                "images": study.describe_images(),
                "locked_scenes": {"good": study.locked_scenes[0], "bad": study.locked_scenes[1]},
                **_gain_to_json(found.resolutions.each[study.category]),
            }
            for study in found.studies
        ],
        "total": {
            "seconds": asdict(found.seconds),
            "confirm_seconds": asdict(found.confirm_seconds),
            "total_seconds": asdict(found.total_seconds),
            "cache_bytes": found.cache_bytes,
            "output_bytes": found.output_bytes,
            **_gain_to_json(found.resolutions.mean),
        },
        "measured": {
            "category": found.measured_on,
            "step_seconds": found.probe.costs.step,
            "scoring_seconds": found.probe.costs.scoring,
            "decode_seconds": making.decode_s,
            "anomaly_seconds": making.anomaly_s,
            "sizes": {str(size): asdict(factors) for size, factors in found.probe.costs.sizes.items()},
        },
        "cache_folder": str(folder),
    }


def _gain_to_json(resolution: Resolution | None) -> dict[str, float | None]:
    return {
        "half_width": resolution.half_width if resolution else None,
        "smallest_gain": resolution.smallest_gain if resolution else None,
    }
