"""Each kind of adapter is declared once, and a spec knows the same names."""

from typing import get_args

from anomalyvfm_opt.model.adapter_kinds import ADAPTER_KINDS, AdapterSettings
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.spec.space import NO_ADAPTER, Adapter


def test_a_spec_may_name_every_kind_and_no_other() -> None:
    assert (*ADAPTER_KINDS, NO_ADAPTER) == get_args(Adapter)


def test_settings_are_those_of_a_trials_parameters() -> None:
    parameters = reference_parameters("v1.1", "brick", 64)
    assert parameters is not None
    assert AdapterSettings.from_parameters(parameters) == AdapterSettings(
        kind="lora", rank=16, alpha=32.0, targets="attention", adapted_blocks="all"
    )
