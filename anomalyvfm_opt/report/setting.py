"""A trial's parameters in a few words, as the table of axes has them."""

from anomalyvfm_opt.spec.dimensions import list_axes
from anomalyvfm_opt.spec.parameters import AXES, Parameters
from anomalyvfm_opt.spec.space import Space

SETTING_HEADING = " / ".join(axis.heading for axis in AXES if axis.heading)  # of what `describe_setting` returns


def describe_setting(parameters: Parameters | None, space: Space) -> str:
    """Return a setting as tables show it: `R16 / A32 / 10`, without an adapter `- / - / 10`, `frozen` for None.

    Args:
        parameters: of a trial.
        space: of its spec; an axis that this does not search, such as the image size, is not named.
    """
    if parameters is None:
        return "frozen"
    axes = [axis for axis in list_axes(space) if axis.setting]
    return " / ".join(axis.setting.format(p=parameters) if parameters.says(axis.name) else "-" for axis in axes)


def describe_load(parameters: Parameters, space: Space) -> str:
    """Return what decides how much memory a trial takes: `lora, rank 16, attention, adapted blocks all`."""
    axes = [axis for axis in list_axes(space) if axis.load and parameters.says(axis.name)]
    return ", ".join(axis.load.format(p=parameters) for axis in axes)


def describe_mix(parameters: Parameters) -> str:
    """Return the shares of texture, structural and contextual anomalies, in percent: `33/33/33`."""
    p = parameters
    return "/".join(f"{100 * share:.0f}" for share in (p.texture, p.structural, p.contextual))
