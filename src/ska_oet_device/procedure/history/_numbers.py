"""How far the numbers of a device have come: for the day on which its history cannot be asked.

One line of text beside the output of the device's scripts, written over for every number that somebody is told.  The
history, where it can be read, is what counts; this file is asked where it cannot, and where it is new.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time as clock
from dataclasses import dataclass
from pathlib import Path

from ...mptools import machine_boot
from ...own_files import make_folder, open_regular, read_regular
from ...retention import FIRST_DATE

_log = logging.getLogger(__name__)

_LINE = re.compile(r"ids (\d{1,19}) sequence (\d{1,19}) requests (\d{1,19}) machine (\S*) (in-use|closed)\s*", re.ASCII)
_WIDTH = 160  # bytes; always the same, so that a shorter line leaves nothing of a longer one
# What half a minute can bring at the utmost: the kernel writes a file to the disk that much later.
_UNWRITTEN_IDS, _UNWRITTEN_EVENTS = 10_000, 100_000
_EVENTS_A_SECOND = 100
_MOST = 10**15


@dataclass(frozen=True)
class Counts:
    """The highest number that was given, of each kind."""

    ids: int = 0
    sequence: int = 0
    requests: int = 0

    def at_least(self, other: Counts) -> Counts:
        """Return the higher number of each kind."""
        return Counts(max(self.ids, other.ids), max(self.sequence, other.sequence), max(self.requests, other.requests))


def counts_of_now() -> Counts:
    """Return numbers that nobody has reached yet who counted from 1: for a history that nobody can ask.

    One procedure and a hundred events for each second since 2026.
    """
    seconds = max(0, int(clock.time() - FIRST_DATE))
    return Counts(seconds, seconds * _EVENTS_A_SECOND, seconds * _EVENTS_A_SECOND)


class Numbers:
    """The file of one device.  Whoever counts calls `note`, holding the lock of what is counted."""

    def __init__(self, path: Path | None) -> None:
        """Open the file.

        :param path: where it is; None, or a place that cannot be written: nothing is kept
        """
        self.known = _read(path) if path is not None else None
        self._counts = self.known or Counts()
        self._descriptor = -1
        self._machine = machine_boot()
        self._path = path
        if path is not None:
            with contextlib.suppress(OSError):  # the output's own folder: whoever keeps that says what is wrong
                self._descriptor = _opened(path)

    def note(self, *, ids: int = 0, sequence: int = 0, requests: int = 0) -> None:
        """Keep the highest numbers; those that are not named, or lower, stay what they are."""
        known = self._counts
        if ids <= known.ids and sequence <= known.sequence and requests <= known.requests:
            return
        self._counts = known.at_least(Counts(ids, sequence, requests))
        self._write("in-use")

    def look_after(self) -> None:
        """Begin the file anew if somebody has removed it.  Any thread."""
        if self._descriptor < 0 or self._path is None or _is_named(self._descriptor, self._path):
            return
        with contextlib.suppress(OSError):
            descriptor = _opened(self._path)
            os.dup2(descriptor, self._descriptor, inheritable=False)  # whoever is writing goes on with either
            os.close(descriptor)
            self._write("in-use")

    def close(self) -> None:
        """Have the numbers on the disk: no margin is needed at the next start."""
        if self._descriptor >= 0:
            self._write("closed")
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)

    def release(self) -> None:
        """Give the file back: nothing is kept any more."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _write(self, how: str) -> None:
        if self._descriptor < 0:
            return
        counts = self._counts
        line = f"ids {counts.ids} sequence {counts.sequence} requests {counts.requests} machine {self._machine} {how}"
        try:
            os.pwrite(self._descriptor, f"{line:<{_WIDTH - 1}}\n".encode(), 0)
        except OSError as error:  # a full disk: the history says so, and this file was made before
            _log.debug("the numbers cannot be kept: %s", error)


def _opened(path: Path) -> int:
    make_folder(path.parent)
    return open_regular(path, os.O_WRONLY | os.O_CREAT)


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _read(path: Path) -> Counts | None:
    try:
        match = _LINE.fullmatch(read_regular(path).decode(errors="replace"))
    except OSError:
        return None
    if match is None:
        return None
    counts = Counts(int(match[1]), int(match[2]), int(match[3]))
    if max(counts.ids, counts.sequence, counts.requests) > _MOST:
        _log.error("%s tells of numbers that nobody can have given: it is no use", path)
        return None
    if match[5] == "closed" or match[4] == machine_boot():
        return counts
    # The power was cut, or the machine was started anew in a hurry: the newest numbers may never have reached the disk.
    return Counts(counts.ids + _UNWRITTEN_IDS, counts.sequence + _UNWRITTEN_EVENTS, counts.requests + _UNWRITTEN_EVENTS)
