import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits

from anomalyvfm_opt.worker import device
from anomalyvfm_opt.worker.cores import count_cores, count_workers, is_worker, share_cores


@pytest.mark.parametrize(("quota", "cores"), [("150000 100000\n", 1.5), ("50000 100000\n", 0.5)])
def test_the_quota_of_a_container_counts(tmp_path: Path, quota: str, cores: float) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert count_cores(file) == min(cores, count_cores(tmp_path / "none"))
    file.write_text("max 100000\n")
    assert count_cores(file) == count_cores(tmp_path / "none") >= 1


def write_process(folder: Path, number: int, *arguments: str) -> None:
    (folder / str(number)).mkdir()
    (folder / str(number) / "cmdline").write_bytes("\0".join([*arguments, ""]).encode())


def test_workers_are_found_among_the_processes(tmp_path: Path) -> None:
    assert count_workers(tmp_path / "none") == 1
    (tmp_path / "self").mkdir()
    write_process(
        tmp_path, 1, "/usr/bin/python3.12", "/opt/venv/bin/anomalyvfm-opt", "worker", "run", "--threads", "1"
    )
    write_process(tmp_path, 2, "python", "-m", "anomalyvfm_opt", "--debug", "worker", "run")
    write_process(tmp_path, 3, "python", "/srv/anomalyvfm_opt/__main__.py", "study", "list")
    write_process(tmp_path, 4, "timeout", "60", "anomalyvfm-opt", "worker", "run")
    write_process(tmp_path, 5, "sh", "-c", "anomalyvfm-opt worker run & anomalyvfm-opt worker run")
    write_process(tmp_path, 6, "python", "other.py", "worker", "run")
    write_process(tmp_path, 7)  # as a zombie's
    assert count_workers(tmp_path) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_a_living_process_is_read() -> None:
    sleep = "import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", sleep, "anomalyvfm-opt", "worker", "run"])
    try:
        deadline = time.monotonic() + 20
        while not (is_seen := is_worker(Path(f"/proc/{process.pid}/cmdline"))) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.kill()
    assert is_seen
    assert count_workers() >= 1
    process.wait()
    assert not is_worker(Path(f"/proc/{process.pid}/cmdline"))


def test_each_of_several_workers_gets_a_share() -> None:
    cores = int(count_cores())
    assert share_cores(1) == max(1, cores)
    assert share_cores(2) == max(1, cores // 2)
    assert share_cores(10 * cores) == 1


def test_threads_are_what_was_asked_for_or_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        with threadpool_limits():
            assert device.limit_threads(2) == torch.get_num_threads() == 2
            monkeypatch.setattr(device, "share_cores", lambda workers: 8 // workers)
            monkeypatch.setattr(device, "count_workers", lambda: 8)
            assert device.limit_threads(None) == torch.get_num_threads() == 1
            assert (
                device.limit_threads(None) == 1
            )  # torch's own default, such as OMP_NUM_THREADS, is never exceeded
    finally:
        torch.set_num_threads(before)
