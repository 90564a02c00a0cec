"""Forking a sibling: whose child it is, and that the C library and Python know who they are in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from support.forked import in_a_child

from ska_oet_device.mptools import _fork

pytestmark = pytest.mark.skipif(not _fork.can_fork_sibling(), reason="this machine forks twice instead")


def _as_template(in_the_sibling):
    """Have a child of ours fork a sibling that ends with what the function returns; returns the statuses of both."""
    template = os.fork()
    if template == 0:
        pid = _fork.fork_sibling()
        os._exit(in_the_sibling() if pid == 0 else 42)
    first, second = os.wait(), os.wait()
    statuses = {pid: os.waitstatus_to_exitcode(status) for pid, status in (first, second)}
    return statuses.pop(template), statuses.popitem()[1]


@in_a_child
def test_the_sibling_is_a_child_of_our_parent():
    parent = os.getpid()
    assert _as_template(lambda: 7 if os.getppid() == parent else 8) == (42, 7)


@in_a_child
def test_another_thread_can_send_a_signal_to_its_main_thread():
    def signalled():
        seen = threading.Event()
        signal.signal(signal.SIGUSR1, lambda *_: seen.set())
        other = threading.Thread(target=signal.pthread_kill, args=(threading.main_thread().ident, signal.SIGUSR1))
        other.start()
        other.join()
        return 7 if seen.wait(10) else 8

    assert _as_template(signalled) == (42, 7)


@in_a_child
def test_it_can_fork_and_start_programs():
    def start():
        pid = os.fork()
        if pid == 0:
            os._exit(3)
        forked = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return forked + subprocess.run([sys.executable, "-c", "raise SystemExit(4)"], check=False).returncode

    assert _as_template(start) == (42, 7)


@in_a_child
def test_a_refusal_of_the_kernel_is_an_error(monkeypatch):
    monkeypatch.setattr(_fork, "_FLAGS", _fork._FLAGS | 0x00000800)  # CLONE_SIGHAND without CLONE_VM
    with pytest.raises(OSError, match="Invalid argument"):
        _fork.fork_sibling()
