"""The Dockerfile copies what is there, installs what pyproject.toml asks for, and gives up root."""

import json
import os
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import (
    OUR_IMAGE,
    ROOT,
    read_compose,
    read_dockerfile,
    read_image_environment,
    read_last_stage,
)

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def texts(name: str) -> list[str]:
    return [each.text for each in read_dockerfile() if each.name == name]


def last(name: str) -> str:
    return [each.text for each in read_last_stage() if each.name == name][-1]


def list_sources() -> list[str]:
    """What is copied from the repository."""
    copies = [[word for word in shlex.split(text) if word != "--chmod=0755"] for text in texts("COPY")]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


def is_in_context(path: str) -> bool:
    """Whether .dockerignore lets a path into the build; the last pattern that fits decides."""
    is_in = True
    parents = [path, *map(str, Path(path).parents)]
    for line in IGNORED:
        pattern = line.lstrip("!").removeprefix("**/")
        if any(fnmatch(each, pattern) or fnmatch(Path(each).name, pattern) for each in parents):
            is_in = line.startswith("!")
    return is_in


def test_every_instruction_is_one_of_dockers() -> None:
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {each.name for each in read_dockerfile()} == known


def test_the_base_is_pinned_and_new_enough() -> None:
    assert {text.partition(" AS ")[0] for text in texts("FROM")} == {"${PYTHON_IMAGE}"}
    (base,) = [text.removeprefix("PYTHON_IMAGE=") for text in texts("ARG")]
    assert read_compose()["services"]["prepare"]["build"]["args"] == {"PYTHON_IMAGE": base}
    version = re.fullmatch(r"python:(3)\.(\d+)-slim-[a-z]+", base)
    assert version
    minimum = PROJECT["requires-python"].removeprefix(">=3.")
    assert int(version[2]) >= int(minimum)


def test_what_is_copied_is_there_and_in_the_context() -> None:
    sources = list_sources()
    assert "pyproject.toml" in sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if not is_in_context(source)] == []


def test_all_that_the_wheel_is_made_of_is_copied() -> None:
    """The build backend ends with an error where a folder that it is told to include is not there."""
    everything = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = everything["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert [path for path in included if path not in list_sources()] == []


@pytest.mark.parametrize(
    "path", [".git", ".venv", ".env", "data", "data/can/train/good/000.png", "secrets/database_password", "tests"]
)
def test_nothing_else_is_in_the_context(path: str) -> None:
    assert not is_in_context(path)


def test_what_is_installed_is_known_by_its_hash_and_pip_leaves_no_cache() -> None:
    """All but our own wheel, which the image builds: without asking an index for what builds it."""
    installs = [text for text in texts("RUN") if text.startswith("pip ")]
    assert len(installs) == 4
    assert all("--no-cache-dir" in text and "--no-deps" in text for text in installs)
    locked = [text for text in installs if "--require-hashes" in text and "--only-binary :all:" in text]
    assert [text.rpartition("/")[2] for text in locked] == ["build.txt", "base.txt"]
    assert [text for text in installs if text not in locked and "--no-build-isolation" not in text] == [
        "pip install --no-cache-dir --no-deps /opt/anomalyvfm-opt/wheels/*.whl"
    ]


def test_nobody_is_root_and_the_tmpfs_is_of_the_same_user() -> None:
    uid, gid = map(int, last("USER").split(":"))
    assert uid > 0
    assert gid > 0
    assert f"useradd --uid {uid} --user-group " in " ".join(texts("RUN"))
    for service in read_compose()["services"].values():
        if service["image"].startswith(OUR_IMAGE):
            assert f"/run/anomalyvfm-opt:uid={uid},gid={gid},mode=0700" in service["tmpfs"]


def test_the_state_folder_is_the_users_and_where_the_volume_is_mounted() -> None:
    home = read_image_environment()["ANOMALYVFM_OPT_HOME"]
    assert f"--create-home --home-dir {home} " in " ".join(texts("RUN"))
    mounts = {mount["source"]: mount["target"] for mount in read_compose()["services"]["worker"]["volumes"]}
    assert mounts["state"] == home
    assert read_image_environment()["HF_HOME"].startswith(home)


def test_the_entrypoint_is_our_script() -> None:
    (target,) = json.loads(last("ENTRYPOINT"))
    assert f"--chmod=0755 deploy/entrypoint.sh {target}" in texts("COPY")
    assert os.access(ROOT / "deploy" / "entrypoint.sh", os.X_OK)
    assert json.loads(last("CMD"))[0] in PROJECT["scripts"]


def test_it_holds_no_secret_and_no_address() -> None:
    assert [
        each for each in read_dockerfile() if re.search(r"passw|secret|token|https?://", each.text, re.I)
    ] == []
