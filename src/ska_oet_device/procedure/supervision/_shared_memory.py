"""The shared memory of a procedure's processes, which the kernel's limit on a process's own memory does not count."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ._guard import Clock, Guarded, call_for

_LOOKS_APART = 1.0  # seconds
_LONGEST_LOOK = 0.003  # seconds that main does nothing else; for the rest there is a moment's pause
_PAUSE = 0.01  # seconds
_MOST_PROCESSES = 1000  # of a procedure that are looked at
_LONGEST_STATUS = 8192  # bytes; it has some 1,500
_LONGEST_CHILDREN = 65_536  # bytes, of some 9,000 children
_SHARED = re.compile(rb"^RssShmem:\s*(\d+) kB$", re.MULTILINE)
_PARENT = re.compile(rb"^PPid:\s*(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class _Watched:
    """A procedure: see `SharedMemoryWatch.add`."""

    owner: Guarded
    limit: int
    pid: Callable[[], int | None]
    is_over: Callable[[], bool]
    end: Callable[[str], None]


class SharedMemoryWatch:
    """Looks once a second how much shared memory the processes of each procedure hold in RAM.  In main's loop.

    What nobody has mapped, a file in /dev/shm, say, belongs to no process, and is not seen.  Processes may be many, and
    main has others to serve: it looks in small pieces, and later the more there are.
    """

    def __init__(self, loop: Clock) -> None:
        self._loop = loop
        self._watched: list[_Watched] = []
        self._round: Iterator[None] | None = None

    def add(
        self,
        owner: Guarded,
        limit: int,
        pid: Callable[[], int | None],
        is_over: Callable[[], bool],
        end: Callable[[str], None],
    ) -> None:
        """Look at one more procedure, until it is over.

        :param owner: is told of a fault
        :param limit: bytes for each process, MaxMemory; 0: nobody looks
        :param pid: returns its worker, from which all of them descend; None: there is none now
        :param is_over: says whether it ends, so that nobody need look any more
        :param end: called, once, with the reason: a process holds more
        """
        if limit <= 0:
            return
        self._watched.append(_Watched(owner, limit, pid, is_over, end))
        if self._round is None:
            self._begin_round()

    def _begin_round(self) -> None:
        self._watched = [watched for watched in self._watched if not watched.is_over()]
        self._round = self._look_at_all() if self._watched else None
        if self._round is not None:
            self._loop.call_later(_LOOKS_APART, self._go_on)

    def _go_on(self) -> None:
        """Look at some more, in this turn of the loop."""
        assert self._round is not None
        deadline = time.monotonic() + _LONGEST_LOOK
        for _ in self._round:
            if time.monotonic() >= deadline:
                self._loop.call_later(_PAUSE, self._go_on)
                return
        self._begin_round()

    def _look_at_all(self) -> Iterator[None]:
        """Look at each procedure; yield wherever others may have their turn."""
        for watched in self._watched.copy():
            try:
                yield from _look_at(watched)
            except Exception as error:  # what is wrong with one of them
                watched.owner.fail_internally(error)


def _look_at(watched: _Watched) -> Iterator[None]:
    """End a procedure if a process of it holds too much; yield after each of them."""
    top = watched.pid() if not watched.is_over() else None
    if top is None:
        return
    for process in _tree(top):
        if process is not None:
            size = _shared_memory_of(process)
            if size > watched.limit and not watched.is_over() and _descends(process, top):
                who = "it" if process == top else f"its process {process}"
                limit = watched.limit / 1024**2
                reason = f"{who} held {size / 1024**2:.0f} MiB of shared memory; MaxMemory is {limit:g} MiB"
                call_for(watched.owner, watched.end, reason)
                return
        yield


def _tree(top: int) -> Iterator[int | None]:
    """Yield a process and all that descend from it, as far as the kernel tells; None after each of their threads."""
    waiting, seen = [top], 0
    while waiting and seen < _MOST_PROCESSES:
        pid = waiting.pop()
        seen += 1
        yield pid
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                children = _read(f"/proc/{pid}/task/{task}/children", _LONGEST_CHILDREN)
                waiting += map(int, children[: children.rfind(b" ") + 1].split())
                yield None
        except OSError:  # it is gone, or the kernel does not tell
            continue


def _descends(pid: int, top: int) -> bool:
    """Say whether a process is one of a tree still: the look has paused, and its number may have been given anew."""
    for _ in range(_MOST_PROCESSES):
        if pid == top:
            return True
        parent = _number_in(pid, _PARENT)
        if not parent:
            return False
        pid = parent
    return False


def _shared_memory_of(pid: int) -> int:
    return _number_in(pid, _SHARED) * 1024


def _number_in(pid: int, what: re.Pattern[bytes]) -> int:
    """Return a number of a process's status; 0 if there is none."""
    try:
        match = what.search(_read(f"/proc/{pid}/status", _LONGEST_STATUS))
    except OSError:
        return 0
    return int(match[1]) if match is not None else 0


def _read(path: str, most: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    data = b""
    try:
        while len(data) < most and (more := os.read(descriptor, most)):  # the kernel gives a page at a time
            data += more
        return data
    finally:
        os.close(descriptor)
