"""Installed packages against the ranges that this program's own metadata ask for."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from anomalyvfm_opt.doctor.check import CheckResult, fail, ok, warn

_SHOWN = ("torch", "timm", "peft", "optuna")


def look_at_packages() -> CheckResult:
    """Versions of all packages that are needed; those of the extras are looked at where they are used."""
    try:
        needed = [Requirement(line) for line in requires("anomalyvfm-opt") or []]
    except PackageNotFoundError:
        return warn("anomalyvfm-opt itself is not installed, so nothing says what it needs", "pip install -e .")
    return judge_packages(each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""}))


def judge_packages(needed: Iterable[Requirement]) -> CheckResult:
    """Compare with what is installed."""
    faults, fixes = [], []
    for requirement in needed:
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = "not installed"
        if found == "not installed" or not requirement.specifier.contains(found, prereleases=True):
            faults.append(f"{requirement.name} {found}, needed {requirement.specifier or 'in any version'}")
            fixes.append(f"'{requirement.name}{requirement.specifier}'")
    if faults:
        return fail("; ".join(faults), f"pip install {' '.join(fixes)}")
    return ok(", ".join(f"{name} {version(name)}" for name in _SHOWN))
