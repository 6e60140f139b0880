"""A spec whose only point is one trial's: what that trial ran can be run again, with other seeds."""

import io
import re

from ruamel.yaml import YAML

from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters


def repeat_parameters(spec: Spec, category: str, parameters: Parameters, number: int) -> Spec:
    """Return a spec that searches nothing: every trial of it but the references has these parameters.

    It has one such trial; with a larger budget each further one is another seed. The image size is that of the
    trial for all of the study, its references included.

    Args:
        spec: that the trial was found by.
        category: of its study.
        parameters: of the trial.
        number: of the trial, for the name and the description.
    """
    p = parameters
    references = len(set(spec.references_run(category).values()))
    content = spec.model_dump(mode="json")
    content["name"] = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{spec.name[:40]}-{category[:40]}-trial{number}")
    content["description"] = f"repeats trial {number} of {spec.study_name(category)}"
    content["data"] |= {"categories": [category], "image_size_px": p.image_size_px}
    content["search"] |= {"trials": max(references + 1, len(spec.references)), "space": _fix(p)}
    return Spec.model_validate(content)


def _fix(p: Parameters) -> dict[str, object]:
    """Return a space with one point; a share that rounding took out of 0-1 is put back."""
    shares = {name: min(1.0, max(0.0, getattr(p, name))) for name in ("texture", "structural", "contextual")}
    ranges = {
        name: {"low": getattr(p, name), "high": getattr(p, name)}
        for name in ("alpha_ratio", "epochs", "learning_rate", "synthesis_count")
    }
    choices = {
        name: [getattr(p, name)]
        for name in ("adapter", "rank", "targets", "adapted_blocks", "dropout", "synthesis_intensity")
    }
    return {**choices, **ranges, "synthesis_mix": shares, "image_size_px": []}


def render_spec(spec: Spec) -> str:
    """Return a spec as YAML, with every field, also those that have their defaults."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 110
    stream = io.StringIO()
    yaml.dump(spec.model_dump(mode="json"), stream)
    return stream.getvalue()
