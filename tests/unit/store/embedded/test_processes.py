import os
import subprocess
import sys

from anomalyvfm_opt.store.embedded.processes import command_of, find_processes, is_alive, is_process


def test_a_process_is_found_by_its_argument_until_it_is_gone():
    mark = f"mark-{os.getpid()}"
    child = subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True); input()", mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    child.stdout.readline()
    program = os.path.basename(os.readlink(f"/proc/{child.pid}/exe"))  # noqa: PTH115, PTH119
    assert find_processes(mark, program, os.getuid()) == [child.pid]
    assert find_processes(mark, "postgres", os.getuid()) == []  # whose name it carries without being it
    assert find_processes(mark, program, os.getuid() + 1) == []
    assert is_process(child.pid, mark, program, os.getuid())
    assert not is_process(child.pid, mark, "postgres", os.getuid())
    assert command_of(child.pid).endswith(mark)
    assert is_alive(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert command_of(child.pid) == ""  # a zombie
    child.communicate()
    assert not is_alive(child.pid)
