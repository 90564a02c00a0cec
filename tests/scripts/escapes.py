"""Leaves processes behind that do all they can not to be found; each function begins some, and tells their ids.

A hopper lives as long as the file `beat` changes, and ends by itself when that has been removed.
"""

import os
import signal
import time

from pubsub import pub
from setproctitle import setproctitle

__all__ = ["bare", "chain", "deaf", "frozen", "hopper", "no_subreaper", "program", "titled"]


def _told(pids):
    pub.sendMessage("left", pids=pids)
    time.sleep(600)


def _daemon(run):
    """Double-fork, as daemons do; returns the id of the process that lives on."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            os.write(writer, b"%d\n" % os.getpid())
            run()
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(reader, 20))


def _sleep():
    time.sleep(600)


def bare():
    """A session of its own, and nothing in its title or environment."""
    _told([_daemon(lambda: os.execve("/bin/sleep", ["sleep", "600"], {}))])


def titled(title):
    """A session of its own, and somebody else's title."""

    def run():
        setproctitle(title)
        _sleep()

    _told([_daemon(run)])


def deaf():
    """It ignores each signal that can be ignored."""

    def run():
        for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(signum, signal.SIG_IGN)
        _sleep()

    _told([_daemon(run)])


def frozen():
    """It is stopped, and so is its child."""

    def run():
        pid = os.fork()
        if pid:
            os.kill(pid, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        _sleep()

    _told([_daemon(run)])


def chain(length=30):
    """Each one has a session of its own, and falls to somebody else only when the one before is killed."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        for _ in range(length):
            os.setsid()
            os.write(writer, b"%d\n" % os.getpid())
            if os.fork():
                _sleep()
        os._exit(0)
    told = b""
    while told.count(b"\n") < length:
        told += os.read(reader, 4096)
    _told([int(pid) for pid in told.split()])


def hopper(beat, sessions=True):
    """Forks and exits at once, again and again: each process that is seen is gone already."""

    def run():
        while os.path.exists(beat):
            with open(beat, "r+b") as file:
                file.write(b"%d" % os.getpid())
            if os.fork():
                os._exit(0)
            if sessions:
                os.setsid()
        os._exit(0)

    _daemon(run)
    _told([])


def no_subreaper():
    """The script itself gives up to take its orphans in."""
    import ctypes

    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
    bare()


def program(path, beat):
    """A program of somebody else, as a daemon."""
    _daemon(lambda: os.execve(path, [path, beat], {}))
    _told([])
