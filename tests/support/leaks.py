"""No test leaves threads, child processes, descriptors or listeners behind: a fixture looks for them after each one."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import pytest
from pubsub import pub

from ska_oet_device.mptools import stat_of, title_of

PATIENCE = 20.0  # seconds for what is ending while the test is; a call of Tango that hangs takes 3

# ZMQ, of which Tango's client keeps a context while the process lives, has eventfds and epolls.  Nothing here makes
# eventfds, and an EventLoop has more than its epoll.
_LIBRARYS = ("anon_inode:[eventfd]", "anon_inode:[eventpoll]")


@dataclass(frozen=True)
class Present:
    """What there is at one moment.

    The listeners are those of pypubsub's default publisher, which is the whole process's.  A bus of a device goes with
    whoever holds it, and its listeners with it.
    """

    threads: frozenset[threading.Thread] = frozenset()
    processes: frozenset[int] = frozenset()
    descriptors: frozenset[tuple[int, str]] = frozenset()
    listeners: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def now(cls) -> Present:
        return cls(
            frozenset(threading.enumerate()),
            frozenset(int(name) for name in os.listdir("/proc") if name.isdigit()),
            frozenset(_descriptors()),
            frozenset(_listeners()),
        )

    def and_also(self, other: Present) -> Present:
        return Present(
            self.threads | other.threads,
            self.processes | other.processes,
            self.descriptors | other.descriptors,
            self.listeners | other.listeners,
        )

    def without(self, other: Present) -> Present:
        return Present(
            self.threads - other.threads,
            self.processes - other.processes,
            self.descriptors - other.descriptors,
            self.listeners - other.listeners,
        )

    def say(self) -> list[str]:
        """Describe what of it counts, a few words each."""
        return [
            *(f"thread {thread.name!r}" for thread in self.threads if _is_pythons(thread)),
            *(f"process {pid} ({title_of(pid)})" for pid in self.processes if _is_child(pid)),
            *filter(None, (_say(*descriptor) for descriptor in self.descriptors)),
            *(f"listener {name} of topic {topic}" for topic, name in self.listeners),
        ]


def _is_pythons(thread: threading.Thread) -> bool:
    """Say whether Python has started it: a library's thread that has called a callback goes by another class."""
    return not isinstance(thread, threading._DummyThread)


def _is_child(pid: int) -> bool:
    stat = stat_of(pid)
    return stat is not None and stat.parent == os.getpid()


def _descriptors() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one by which the folder was read
            # Whoever removes a file, or /dev/null, does not open another one here.
            yield int(name), os.readlink(f"/proc/self/fd/{name}").removesuffix(" (deleted)")


def _say(number: int, target: str) -> str:
    """Describe an open descriptor; empty if it is a library's, or is closed by now."""
    if target in _LIBRARYS:
        return ""
    if not target.startswith("socket:"):
        return f"descriptor {number} ({target})"
    try:
        with socket.socket(fileno=os.dup(number)) as sock:
            return _say_socket(number, sock)
    except OSError:  # it is closed, or has no peer any more
        return ""


def _say_socket(number: int, sock: socket.socket) -> str:
    """Describe a socket that listens, or is one of a pair.

    One that is connected to a name or an address is no test's: Tango's client keeps connections (omniORB by TCP or, on
    one host, by /tmp/omni-*; ZMQ by TCP) to whatever server it has spoken to, also when that is gone.  One of Python's
    that is forgotten is told by its ResourceWarning, which is an error.
    """
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return f"listening socket {number} {sock.getsockname()}"
    if sock.family == socket.AF_UNIX and not sock.getpeername():
        return f"socket {number}, one of a pair"
    return ""


def _listeners() -> Iterator[tuple[str, str]]:
    manager = pub.getDefaultTopicMgr()
    topics = [manager.getRootAllTopics()]
    for topic in topics:
        topics += topic.getSubtopics()
        for listener in topic.getListeners():
            yield topic.getName(), f"{listener.name()} at {id(listener.getCallable()):#x}"


_held = Present()
"""What lives longer than the test that was the first to need it."""


@contextlib.contextmanager
def outlives_the_test() -> Iterator[None]:
    """What is set up meanwhile belongs to a fixture of a module or of the session."""
    global _held
    before = Present.now()
    yield
    _held = _held.and_also(Present.now().without(before))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    """Blame no test for being the first to ask for a fixture that stays."""
    if fixturedef.scope == "function":
        return (yield)
    with outlives_the_test():
        return (yield)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Fail a test that leaves something behind, once its own fixtures are torn down: it is set up before them."""
    before = Present.now()
    yield
    if _left(before):
        gc.collect()  # cycles hold what is not needed any more
        deadline = time.monotonic() + PATIENCE
        while (left := _left(before)) and time.monotonic() < deadline:
            time.sleep(0.005)
        if left:
            pytest.fail(f"left behind: {', '.join(sorted(left))}", pytrace=False)


def _left(before: Present) -> list[str]:
    return Present.now().without(before).without(_held).say()
