"""Write locks/*.txt: what CI and the image install, each file of it known by its hash.

    make lock     after a change of pyproject.toml or constraints.txt; asks the package index for ten minutes

pip resolves the requirements of pyproject.toml within constraints.txt, without installing anything, and tells the
hash of each wheel that it would take: for Linux on x86-64 and the versions of Python below, which is what CI and
the image are. Elsewhere install by constraints.txt alone. Wheels only: nothing of a package is run to build it.

The wheels of the dependency group `weights` stand in `base` without what they need themselves.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_BESIDE = ("dev", "docs", "ray")  # extras that are installed beside the sets `base` and `build`
_PATCH = 20  # of each Python: a late one, since packages ask for 3.11.5 and the like
_GLIBCS = (5, 12, 17, 18, 24, 25, 26, 27, 28)  # manylinux_2_N, as far as Debian 12 and RHEL 8 have them
_PLATFORMS = ("any", "linux_x86_64", *(f"manylinux{year}_x86_64" for year in (1, 2010, 2014)))
_HEAD = "# Written by `make lock` for Linux on x86-64, Python {pythons}: do not edit.\n"
_EDITABLE = "editables>=0.5"  # which hatchling asks for where the checkout itself is installed


def main() -> None:
    """Write all sets; `dev`, `docs` and `ray` hold what they need beside the first two."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    sets = {
        "base": [*project["project"]["dependencies"], *extras["offline"]],
        "build": [*project["build-system"]["requires"], _EDITABLE],
        **{name: extras[name] for name in _BESIDE},
    }
    alone = project["dependency-groups"]["weights"]
    within = ["--constraint", str(ROOT / "constraints.txt")]
    resolved = _ask_pip([*within, *(one for each in sets.values() for one in each)])
    resolved += _ask_pip(["--no-deps", *within, *alone])
    found = {canonicalize_name(item["metadata"]["name"]): item for item in resolved}
    hashes = _collect_hashes([f"{item['metadata']['name']}=={item['metadata']['version']}" for item in resolved])
    (ROOT / "locks").mkdir(exist_ok=True)
    needed = {name: _find_needed(requirements, found) for name, requirements in sets.items()}
    needed["base"] |= {canonicalize_name(Requirement(each).name) for each in alone}
    for name in sets:
        names = needed[name] - (needed["base"] | needed["build"] if name in _BESIDE else set())
        lines = [_write_line(found[each], hashes[each]) for each in sorted(names)]
        text = _HEAD.format(pythons=" to ".join((PYTHONS[0], PYTHONS[-1]))) + "".join(lines)
        (ROOT / "locks" / f"{name}.txt").write_text(text, encoding="utf-8")


def _ask_pip(arguments: Iterable[str]) -> list[dict[str, Any]]:
    """Return what pip would install, as in the `install` of its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command = [*pip, "--only-binary", ":all:", "--report", str(report), *arguments]
        subprocess.run(command, check=True)  # noqa: S603
        installed: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return installed


def _collect_hashes(pins: list[str]) -> Mapping[str, set[str]]:
    """Return the sha256 of the wheel of each NAME==VERSION for each Python: name -> hex digits."""
    platforms = (*_PLATFORMS, *(f"manylinux_2_{minor}_x86_64" for minor in _GLIBCS))
    hashes: defaultdict[str, set[str]] = defaultdict(set)
    for python in PYTHONS:
        aimed = ["--no-deps", "--target", "nowhere", "--python-version", f"{python}.{_PATCH}"]
        aimed += [word for platform in platforms for word in ("--platform", platform)]
        for item in _ask_pip([*aimed, *pins]):
            name = canonicalize_name(item["metadata"]["name"])
            hashes[name].add(item["download_info"]["archive_info"]["hashes"]["sha256"])
    return hashes


def _find_needed(requirements: Iterable[str], found: Mapping[str, dict[str, Any]]) -> set[str]:
    """Return the names of what these requirements need, themselves included, on this Python."""
    needed: set[str] = set()
    ahead = [Requirement(each) for each in requirements]
    seen: set[str] = set()
    while ahead:
        requirement = ahead.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        name = canonicalize_name(requirement.name)
        needed.add(name)
        for line in found[name]["metadata"].get("requires_dist", ()):
            below = Requirement(line)
            if below.marker is None or any(
                below.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
            ):
                ahead.append(below)
    return needed


def _write_line(item: Mapping[str, Any], hashes: Iterable[str]) -> str:
    pin = f"{item['metadata']['name']}=={item['metadata']['version']}"
    return pin + "".join(f" \\\n    --hash=sha256:{each}" for each in sorted(hashes)) + "\n"


if __name__ == "__main__":
    main()
