import os
import subprocess
import sys

from anomalyvfm_opt.store.embedded.processes import command_of, find_processes, is_alive


def test_a_process_is_found_by_its_argument_until_it_is_gone():
    mark = f"mark-{os.getpid()}"
    child = subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True); input()", mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    child.stdout.readline()
    assert find_processes(mark) == [child.pid]
    assert command_of(child.pid).endswith(mark)
    assert is_alive(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert command_of(child.pid) == ""  # a zombie
    child.communicate()
    assert not is_alive(child.pid)
