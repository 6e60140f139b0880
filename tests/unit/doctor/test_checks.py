"""What the checks of `doctor` make of what they measure."""

import os
import shutil
from pathlib import Path
from threading import Event
from unittest.mock import Mock

import pytest
from packaging.requirements import Requirement

from anomalyvfm_opt.doctor.check import Check, CheckResult, Status, fail, ok, run_checks, skip, summarise, warn
from anomalyvfm_opt.doctor.connections import Limit, count_connections_per_process, judge_connections
from anomalyvfm_opt.doctor.database import judge_clock, judge_latency
from anomalyvfm_opt.doctor.device import judge_threads, read_driver
from anomalyvfm_opt.doctor.packages import judge_packages, look_at_packages
from anomalyvfm_opt.doctor.state import find_file_system, look_at_disk
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.store.home import ARTIFACTS_VARIABLE, HOME_VARIABLE

MOUNTS = """\
22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:28 / {folder}/a\\040b rw shared:1 - tmpfs tmpfs rw
31 27 0:29 / {folder}/mnt rw - nfs4 server:/x rw
32 27 0:30 / {folder}/mnt rw - fuse.sshfs server:/y rw
"""


def raise_it(error: Exception) -> CheckResult:
    raise error


def test_whatever_one_check_does_the_others_are_run() -> None:
    findings = run_checks(
        [
            Check("first", lambda: ok("fine")),
            Check("explained", lambda: raise_it(EnvironmentMissingError("no disk", "buy one"))),
            Check("broken", lambda: raise_it(KeyError("x"))),
            Check("silent", lambda: warn("slow", "wait") if Event().wait() else ok(""), limit_s=0.05),
            Check("depends", lambda: ok("never"), needs=("first", "broken")),
            Check("depends_again", lambda: ok("never"), needs=("depends",)),
            Check("last", lambda: ok("fine"), needs=("first",)),
        ]
    )
    assert {name: finding.status for name, finding in findings.items()} == {
        "first": "ok",
        "explained": "fail",
        "broken": "fail",
        "silent": "fail",
        "depends": "skip",
        "depends_again": "skip",
        "last": "ok",
    }
    assert findings["explained"] == fail("no disk", "buy one")
    assert findings["broken"].detail.startswith("KeyError: 'x' (test_checks.py:")
    assert findings["depends"].detail == "not looked at: broken failed"
    assert findings["depends_again"].detail == "not looked at: depends was skipped"
    assert all(found.fix for found in findings.values() if found.status is Status.FAIL)


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([ok(""), skip("")], "ok"),
        ([ok(""), warn("", "x")], "warn"),
        ([fail("", "x"), warn("", "x")], "fail"),
        ([], "ok"),
    ],
)
def test_the_worst_finding_decides(findings: list[CheckResult], status: str) -> None:
    assert summarise(findings) == status


@pytest.mark.parametrize(
    ("skew_s", "uncertainty_s", "status"),
    [(0.0, 0.001, "ok"), (-1.9, 0.0, "ok"), (2.5, 0.1, "warn"), (2.5, 1.0, "ok"), (-3600.0, 0.1, "warn")],
)
def test_a_wrong_clock_is_a_warning_beyond_what_the_way_explains(
    skew_s: float, uncertainty_s: float, status: str
) -> None:
    assert judge_clock(skew_s, uncertainty_s).status == status


def test_the_direction_of_a_wrong_clock_is_said() -> None:
    assert "3.000 s ahead of this host's" in judge_clock(3.0, 0.0).detail
    assert "3.000 s behind this host's" in judge_clock(-3.0, 0.0).detail


@pytest.mark.parametrize(("round_trip_ms", "status"), [(0.2, "ok"), (50.0, "ok"), (80.0, "warn")])
def test_latency(round_trip_ms: float, status: str) -> None:
    assert judge_latency(round_trip_ms).status == status


@pytest.mark.parametrize(
    ("workers", "size", "taken", "status", "words"),
    [
        (1, 100, 0, "ok", "1 worker and a dashboard need up to 8 (4 each); it (100) leaves 100"),
        (19, 100, 0, "ok", "need up to 80"),
        (20, 100, 0, "warn", "run at most 24 workers, or make it 105"),
        (24, 100, 0, "warn", "nearly all"),
        (25, 100, 0, "fail", "make it 130; or run at most 24 workers"),
        (24, 100, 5, "fail", "run at most 22 workers"),
        (1, 5, 9, "fail", "leaves 0"),
    ],
)
def test_workers_and_a_dashboard_find_connections(
    workers: int, size: int, taken: int, status: str, words: str
) -> None:
    assert count_connections_per_process() == 4
    found = judge_connections(workers, Limit("it", size, taken, "make it SIZE"))
    assert found.status == status
    assert words in f"{found.detail}; {found.fix}"


@pytest.mark.parametrize(
    ("path", "kind"), [("", "ext4"), ("a b", "tmpfs"), ("a b/c", "tmpfs"), ("mnt", "fuse.sshfs"), ("mnt2", "ext4")]
)
def test_the_file_system_of_the_longest_mount_counts(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.format(folder=tmp_path))
    assert find_file_system(tmp_path / path, mounts) == kind


def test_a_host_that_does_not_tell_its_mounts(tmp_path: Path) -> None:
    assert find_file_system(tmp_path, tmp_path / "none") == ""


@pytest.mark.parametrize(("threads", "cores", "status"), [(2, 2.0, "ok"), (8, 1.5, "warn"), (1, 0.5, "ok")])
def test_threads_that_outnumber_the_cores(threads: int, cores: float, status: str) -> None:
    assert judge_threads(threads, cores, "openblas 1").status == status


def test_the_driver_is_read_from_the_kernel_module(tmp_path: Path) -> None:
    file = tmp_path / "version"
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23 03:41:32 UTC 2025\n")
    assert read_driver(file) == "570.86.15"
    assert read_driver(tmp_path / "none") == ""


def test_packages_outside_of_their_ranges_are_named() -> None:
    assert look_at_packages().status == "ok"
    found = judge_packages([Requirement("optuna<1"), Requirement("no-such-package>=2"), Requirement("torch")])
    assert found.status == "fail"
    assert found.detail.startswith("optuna ")
    assert "no-such-package not installed, needed >=2" in found.detail
    assert found.fix == "pip install 'optuna<1' 'no-such-package>=2'"


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_the_disk_check_says_what_the_cache_and_trials_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_elsewhere: bool
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    folder = tmp_path / ("shared" if is_elsewhere else "artifacts")
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(folder) if is_elsewhere else "")
    for path, gib in (("checkpoints/key/epoch.safetensors", 0.3), ("ab/abcd", 2)):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).touch()
        os.truncate(folder / path, int(gib * 2**30))  # a hole, which takes no room
    for path in ("images.npy", "prefix/ab/outputs.npy"):
        (tmp_path / "cache" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache" / path).touch()
        os.truncate(tmp_path / "cache" / path, 2**30)
    where = f" in {folder}" if is_elsewhere else ""
    assert "; the cache has 2.0 of at most 0 GiB; " in look_at_disk(0).detail
    assert f"; trials' files{where} 2.0 GiB, checkpoints 0.3 GiB; " in look_at_disk(0).detail


def test_the_disk_check_fails_where_trials_can_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another disk than the state folder's: mounted without the right to write, or full."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(elsewhere / "artifacts"))
    may, usage = os.access, shutil.disk_usage
    full = Mock(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full if path == elsewhere else usage(path))
    found = look_at_disk(0)
    assert (found.status, "only 0.0 GiB are free for trials' files" in found.detail) == ("fail", True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != elsewhere and may(path, mode))
    found = look_at_disk(0)
    assert (found.status, "trials' files cannot be written to" in found.detail) == ("fail", True)
    assert ARTIFACTS_VARIABLE in (found.fix or "")
    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert look_at_disk(0, is_for_worker=True).status != "fail"  # the check `artifacts` says it then
