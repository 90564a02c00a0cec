"""Whatever a process inherits: afterwards it has what it needs."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from support.forked import in_a_child
from support.waiting import wait_until

from ska_oet_device.mptools import Children, set_up_process, spawn, stat_of
from ska_oet_device.mptools._signals import reset_signals
from ska_oet_device.mptools._surroundings import mend_umask, raise_limits, replace_standard_streams

SETTABLE = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
PYTHONS_OWN = {signal.SIGPIPE, signal.SIGXFSZ}  # Python ignores them


def _mask(name: str, pid: int | str = "self") -> set[int]:
    with open(f"/proc/{pid}/status") as status:
        bits = next(int(line.split()[1], 16) for line in status if line.startswith(f"{name}:"))
    # The C library keeps two for itself, which nobody else can set.
    return {number + 1 for number in range(64) if bits >> number & 1} & set(SETTABLE)


@pytest.mark.parametrize("signum", SETTABLE)
@in_a_child
def test_a_signal_that_was_blocked_or_ignored_is_so_no_more(signum):
    faulthandler.disable()  # pytest's
    signal.pthread_sigmask(signal.SIG_BLOCK, {signum})
    signal.signal(signum, signal.SIG_IGN)
    reset_signals()
    assert signum not in _mask("SigBlk")
    assert (signum in _mask("SigIgn")) == (signum in PYTHONS_OWN)


@in_a_child
def test_a_main_process_that_was_started_with_nohup_goes_on_ignoring_the_end_of_its_terminal():
    faulthandler.disable()
    for signum in SETTABLE:
        signal.signal(signum, signal.SIG_IGN)
    set_up_process()
    assert _mask("SigIgn") == {*PYTHONS_OWN, signal.SIGHUP}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    set_up_process()
    assert _mask("SigIgn") == PYTHONS_OWN


@in_a_child
def test_a_program_that_is_spawned_has_no_signal_blocked_or_ignored():
    for signum in SETTABLE:
        signal.signal(signum, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, SETTABLE)
    pid = spawn(["/bin/sleep", "60"], {}, {})
    wait_until(lambda: "sleep" in os.readlink(f"/proc/{pid}/exe") or "coreutils" in os.readlink(f"/proc/{pid}/exe"))
    assert _mask("SigBlk", pid) == _mask("SigIgn", pid) == set()
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2), (1, 2)])
def test_closed_standard_descriptors_lead_nowhere_and_every_stream_is_there(closed, tmp_path):
    told = tmp_path / "told"
    program = (
        "import os, sys\nfrom ska_oet_device.mptools import set_up_process\nset_up_process()\n"
        "print('to nobody', flush=True)\nprint('to nobody', file=sys.stderr, flush=True)\n"
        f"with open({str(told)!r}, 'w') as file:\n"
        "    standard = [os.readlink(f'/proc/self/fd/{n}') for n in range(3)]\n"
        "    print(file.fileno(), sys.stdin.read(), *standard, file=file)\n"
    )
    close = ";".join(f"os.close({descriptor})" for descriptor in closed)
    start = f"import os, sys; {close}; os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    subprocess.run(
        [sys.executable, "-c", start, program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, timeout=20
    )
    descriptor, *standard = told.read_text().split()
    assert int(descriptor) > 2
    assert {standard[number] for number in closed} == {os.devnull}


@pytest.mark.parametrize(
    ("inherited", "mended"), [(0o000, 0o022), (0o777, 0o077), (0o077, 0o077), (0o002, 0o022), (0o277, 0o077)]
)
@in_a_child
def test_nobody_else_may_write_to_new_files_and_the_owner_may(inherited, mended):
    os.umask(inherited)
    mend_umask()
    assert os.umask(0) == mended


@in_a_child
def test_soft_limits_are_raised_and_hard_ones_obeyed():
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 4000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, 10**9))
    resource.setrlimit(resource.RLIMIT_CPU, (1000, resource.RLIM_INFINITY))
    raise_limits()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (4000, 4000)
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == (10**9, 10**9)
    assert resource.getrlimit(resource.RLIMIT_CPU) == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@in_a_child
def test_limits_that_are_high_enough_stay():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    raise_limits()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])


@in_a_child
def test_descriptors_that_were_inherited_are_not_handed_down():
    reader, _ = os.pipe()
    os.set_inheritable(reader, True)
    set_up_process()
    assert not os.get_inheritable(reader)
    assert os.get_inheritable(2)


@in_a_child
def test_what_a_full_disk_does_not_take_is_dropped():
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    replace_standard_streams()
    print("to nobody", flush=True)


@in_a_child
def test_what_a_reader_does_not_take_is_dropped_and_that_is_said_when_it_reads_again():
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    replace_standard_streams()
    line = "x" * 999
    began = time.monotonic()
    for _ in range(200):  # three times as much as a pipe holds
        print(line)
    assert time.monotonic() - began < 5
    read = os.read(reader, 10**6)
    assert read.count(b"\n") < 200
    print("here again", flush=True)
    said = os.read(reader, 10**6).decode()
    assert said == f"({200 * 1000 - len(read)} bytes were not taken, and are lost)\nhere again\n"
    os.close(reader)
    print("to nobody", flush=True)


@in_a_child
def test_lines_that_are_longer_than_a_pipe_takes_at_once_arrive_whole():
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    replace_standard_streams()
    print("x" * 20_000, flush=True)
    assert os.read(reader, 10**6) == b"x" * 20_000 + b"\n"


@in_a_child
def test_children_that_were_there_before_are_nobodys_orphans():
    """`sidecar & exec OetDevice 01`, as containers start it."""
    before = os.fork()
    if before == 0:
        time.sleep(60)
        os._exit(0)
    children = Children()
    children.disclaim_present()
    later = os.fork()
    if later == 0:
        os.setsid()
        time.sleep(60)
        os._exit(0)
    assert children.present() == [later]
    wait_until(lambda: stat_of(later).session == later)
    assert [pid for pid, _ in children.left_behind()[0]] == [later]
    for pid in (before, later):
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    wait_until(lambda: not children.reap())
    assert children._not_ours == set()


@in_a_child
def test_the_traceback_that_somebody_has_asked_for_is_left_to_faulthandler():
    with open(os.devnull, "w") as nothing:
        faulthandler.enable(nothing)
        reset_signals()
        assert signal.SIGSEGV in _mask("SigCgt")
