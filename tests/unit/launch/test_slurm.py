"""What is asked of Slurm, with programs of its names that note what they were called with."""

import os
import pickle
import re
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.launch.slurm import cancel, check_host, make_executor, read_queue, submit
from anomalyvfm_opt.launch.slurm_request import Request, read_extra, read_minutes

KEPT = Path(__file__).parents[2] / "fixtures" / "slurm"
ARGUMENTS = ["--device", "cuda", "--db", "postgresql://engineer@db/vision", "--study", "a b"]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Slurm's commands, first in PATH; sbatch takes any job."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("srun", "squeue", "scancel"):
        write_program(folder, name, "")
    write_program(folder, "sbatch", f'cp "$1" {tmp_path}/taken; echo "Submitted batch job 17"')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PGPASSWORD", raising=False)
    return folder


def write_program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/{name}.called\n{text}\n')
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("90:30", 91),
        ("1:30:00", 90),
        ("0:05:01", 6),
        ("2-12", 3600),
        ("2-12:30", 3630),
        ("1-00:00:01", 1441),
    ],
)
def test_times_are_read_as_sbatch_reads_them(text: str, minutes: int) -> None:
    assert read_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "4h", "1:2:3:4", "-5", "1.5", "2-", "tomorrow", "1:300:00"])
def test_other_times_are_a_mistake_that_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(text))):
        read_minutes(text)


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_time_is_never_cut_short(days: int, hours: int, minutes: int, seconds: int) -> None:
    read_s = 60 * read_minutes(f"{days}-{hours:02}:{minutes:02}:{seconds:02}")
    given_s = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert given_s <= read_s < given_s + 60


def test_more_options_are_taken_with_or_without_dashes_and_values() -> None:
    extra = read_extra(["account=vision", "--mem=16G", "exclusive", "mail_type=END", "comment=a=b c"])
    assert extra == {
        "account": "vision",
        "mem": "16G",
        "exclusive": True,
        "mail-type": "END",
        "comment": "a=b c",
    }


@pytest.mark.parametrize("text", ["", "=", "mem=", "a b=c", "-x=3", "comment=a\n#SBATCH --uid=0"])
def test_what_is_no_option_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no option of sbatch"):
        read_extra([text])


@pytest.mark.parametrize(
    "text",
    [
        "signal=USR1@10",
        "--output=/tmp/x",
        "array=0-9",
        "time=5",
        "requeue",
        "open_mode=w",
        "nodes=2",
        "no-requeue",
    ],
)
def test_what_the_program_sets_itself_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is set by this program"):
        read_extra([text])


def test_a_limit_must_leave_time_after_the_notice() -> None:
    Request(1, time_min=4).check()
    with pytest.raises(UsageError, match=r"told 90 s before .*at least 4 minutes"):
        Request(1, time_min=3).check()
    with pytest.raises(UsageError, match="at least 13 minutes"):
        Request(1, time_min=10, drain_s=600.0).check()


def write_script(tmp_path: Path, request: Request) -> str:
    """What sbatch was given, without this host's paths."""
    folder = tmp_path / "home" / "slurm" / "now"
    submit(make_executor(folder, request), ARGUMENTS, request.count)
    text = (tmp_path / "taken").read_text()
    return text.replace(str(folder), "FOLDER").replace(sys.executable, "PYTHON")


def test_the_script_is_the_one_that_was_kept(programs: Path, tmp_path: Path) -> None:
    asked = read_extra(["account=vision", "cpus-per-task=8", "mem=32G", "exclusive"])
    request = Request(4, 240, partition="gpu", gpus_per_worker=1, extra=asked)
    assert write_script(tmp_path, request) == (KEPT / "array.sh").read_text()


def test_a_single_worker_is_a_plain_job(programs: Path, tmp_path: Path) -> None:
    assert write_script(tmp_path, Request(1, 60)) == (KEPT / "single.sh").read_text()


def test_pickles_are_private_and_hold_arguments_alone(programs: Path, tmp_path: Path) -> None:
    passfile = tmp_path / "passfile"
    passfile.write_text("db:5432:vision:engineer:planted-password\n")
    os.environ["PGPASSFILE"] = str(passfile)
    try:
        write_script(tmp_path, Request(2, 60))
    finally:
        del os.environ["PGPASSFILE"]
    folder = tmp_path / "home" / "slurm" / "now"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [path for path in folder.iterdir() if not path.is_symlink()]
    assert {path.name for path in files} == {"17_submission.sh", "17_0_submitted.pkl", "17_1_submitted.pkl"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    task = pickle.loads((folder / "17_0_submitted.pkl").read_bytes()).function  # noqa: S301 - our own
    assert task.arguments == tuple(ARGUMENTS)
    everything = b"".join(path.read_bytes() for path in files) + (programs / "sbatch.called").read_bytes()
    assert b"planted-password" not in everything


def test_another_signal_of_submitits_is_not_taken_over(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", "USR1")
    make_executor(tmp_path / "now", Request(1, 60))
    assert os.environ["SUBMITIT_PREEMPT_SIGNAL"] == "USR2"


def test_settings_of_sbatch_in_the_environment_do_not_overrule_ours(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EXPORT", "TIMELIMIT", "SIGNAL", "PARTITION", "ACCOUNT"):
        monkeypatch.setenv(f"SBATCH_{name}", "theirs")
    write_program(programs, "sbatch", f'env > {tmp_path}/environment; echo "Submitted batch job 17"')
    submit(make_executor(tmp_path / "a", Request(1, 60)), ARGUMENTS, 1)
    seen = re.findall(r"^SBATCH_(\w+)=theirs$", (tmp_path / "environment").read_text(), re.MULTILINE)
    assert sorted(seen) == ["ACCOUNT", "PARTITION"]
    submit(make_executor(tmp_path / "b", Request(1, 60, partition="gpu")), ARGUMENTS, 1)
    assert "SBATCH_PARTITION" not in (tmp_path / "environment").read_text()
    assert os.environ["SBATCH_EXPORT"] == os.environ["SBATCH_PARTITION"] == "theirs"


def test_from_within_a_job_nothing_of_it_is_handed_on(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CONF", "CPU_BIND", "MEM_PER_CPU"):
        monkeypatch.setenv(f"SLURM_{name}", "theirs")
    write_program(programs, "sbatch", f'env > {tmp_path}/environment; echo "Submitted batch job 17"')

    def list_handed_on(folder: str) -> list[str]:
        submit(make_executor(tmp_path / folder, Request(1, 60)), ARGUMENTS, 1)
        assert os.environ["SLURM_MEM_PER_CPU"] == "theirs"
        return sorted(re.findall(r"^SLURM_(\w+)=", (tmp_path / "environment").read_text(), re.MULTILINE))

    assert list_handed_on("a") == ["CONF", "CPU_BIND", "MEM_PER_CPU"]  # settings of the person's own
    monkeypatch.setenv("SLURM_JOB_ID", "16")
    assert list_handed_on("b") == ["CONF"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("sbatch: error: invalid partition specified: nowhere", UsageError),
        ("sbatch: error: Batch job submission failed: Requested time limit is invalid", UsageError),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
         EnvironmentMissingError),
        ("sbatch: error: If munged is up, restart with --num-threads=10", EnvironmentMissingError),
        ("sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
         "sbatch: fatal: Could not establish a configuration source", EnvironmentMissingError),
    ],
)  # fmt: skip
def test_a_refusal_of_sbatch_is_told_once(
    programs: Path, tmp_path: Path, answer: str, kind: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    write_program(programs, "sbatch", f"echo '{answer}' >&2; exit 1")
    with pytest.raises(kind, match=re.escape(answer.splitlines()[-1].split(": ", 2)[2])):
        submit(make_executor(tmp_path / "now", Request(2, 60)), ARGUMENTS, 2)
    assert capsys.readouterr().err == ""


def test_the_queue_is_read_by_task(programs: Path) -> None:
    write_program(programs, "squeue", "echo '17_0 RUNNING'; echo '17_1 PENDING'")
    assert read_queue("17") == {"17_0": "RUNNING", "17_1": "PENDING"}
    assert "--jobs=17" in (programs / "squeue.called").read_text()
    write_program(programs, "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert read_queue("17") == {}
    write_program(
        programs, "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    )
    with pytest.raises(EnvironmentMissingError, match="Slurm does not answer"):
        read_queue("17")


def test_an_array_is_cancelled_as_a_whole(programs: Path) -> None:
    cancel("17")
    assert (programs / "scancel.called").read_text() == "17\n"


def test_a_host_without_slurm_or_submitit_says_what_is_missing(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_host()
    monkeypatch.setenv("PGPASSWORD", "planted-password")
    with pytest.raises(UsageError, match="PGPASSWORD is set") as told:
        check_host()
    assert "planted-password" not in str(told.value)
    monkeypatch.delenv("PGPASSWORD")
    (programs / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(EnvironmentMissingError, match="no sbatch on this host"):
        check_host()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(EnvironmentMissingError, match=r"pip install 'anomalyvfm-opt\[slurm\]'"):
        check_host()
