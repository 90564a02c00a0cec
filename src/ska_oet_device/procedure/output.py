"""What scripts print: one file a procedure, written by the script's processes themselves.

The files are written through the descriptors 1 and 2 of the worker, so that C code and
grandchildren are captured, too.  A file that outgrows its limit loses its middle: the disk blocks
are given back by punching a hole, so that offsets stay what they were and the newest output is
always there.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

LARGEST_PAGE = 512 * 1024  # bytes read for one answer; as JSON a byte may become six characters
_LONGEST_CHARACTER = 4  # bytes
_BLOCK = 4096
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_TAIL_BYTES = 8 * 1024
_TAIL_LINES = 50


@dataclass(frozen=True)
class Page:
    """A part of a script's output; offsets in bytes; `complete` if nothing will follow it."""

    text: str
    offset: int
    next_offset: int
    complete: bool


class OutputFiles:
    """The output files of one device.  Used by the device server; any thread."""

    def __init__(self, folder: Path) -> None:
        """Nothing is made yet.

        :param folder: where the files of one device lie, and no others
        """
        self._folder = folder

    def path(self, process_uid: int) -> Path:
        """Return where a procedure's output goes."""
        return self._folder / f"{process_uid}.log"

    def prepare(self) -> str:
        """Make the folder; returns what is wrong with it in one sentence, empty if nothing."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"The output of scripts cannot be kept: {error}."
        return ""

    def highest_id(self) -> int:
        """Return the highest procedure id for which there is a file; 0 if there is none."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return 0
        return max((int(name[:-4]) for name in names if name.endswith(".log") and name[:-4].isdigit()), default=0)

    def size(self, process_uid: int) -> int:
        """Return how many bytes a procedure has printed, those that were dropped included."""
        try:
            return self.path(process_uid).stat().st_size
        except OSError:
            return 0

    def read(self, process_uid: int, offset: int, limit: int, *, ended: bool) -> Page:
        """Return the output from `offset` on, at most `limit` bytes of it (but at least 4), up to a whole character.

        Where the middle was dropped, the text says how much, and `next_offset` is behind it.
        """
        try:
            with open(self.path(process_uid), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                offset = min(offset, size)
                start = _next_data(file.fileno(), offset, size)
                note = f"\n[{start - offset} bytes of output were dropped here: MaxOutput]\n" if start > offset else ""
                stop = min(
                    _next_hole(file.fileno(), start, size), start + max(_LONGEST_CHARACTER, min(limit, LARGEST_PAGE))
                )
                file.seek(start)
                data = file.read(stop - start)
        except FileNotFoundError:
            return Page("", offset, offset, ended)
        if stop < size or not ended:
            # At the end of what there is so far, the rest of a character is still to come.
            data = _whole_characters(data, wait_for_rest=stop == size)
        following = start + len(data)
        return Page(note + data.decode("utf-8", "replace"), offset, following, ended and following >= size)

    def tail(self, process_uid: int) -> str:
        """Return the last lines."""
        try:
            with open(self.path(process_uid), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - _TAIL_BYTES))
                data = file.read()
        except OSError:
            return ""
        lines = data.decode("utf-8", "replace").split("\n")
        if size > _TAIL_BYTES:
            lines = lines[1:] or lines  # the first one is cut
        return "\n".join(lines[-_TAIL_LINES - 1 :]).lstrip("\0")

    def trim(self, process_uid: int, limit: int) -> None:
        """Drop the middle of a file that is larger than `limit` bytes; 0 means no limit."""
        if limit <= 0:
            return
        try:
            size = self.path(process_uid).stat().st_size
            if size <= limit:
                return
            head = (limit // 2) // _BLOCK * _BLOCK
            stop = (size - limit // 2) // _BLOCK * _BLOCK
            if stop > head:
                _punch_hole(self.path(process_uid), head, stop - head)
        except FileNotFoundError:
            return  # its worker has not begun yet
        except OSError as error:
            _log.error("the output of procedure %d cannot be shortened: %s", process_uid, error)

    def forget_before(self, time: float, *, keep: Iterable[int] = ()) -> None:
        """Delete files that were last written before `time` (Unix seconds), but not those of the procedures `keep`."""
        try:
            entries = list(os.scandir(self._folder))
        except OSError:
            return
        kept = {self.path(uid).name for uid in keep}
        for entry in entries:
            if entry.name in kept:
                continue
            try:
                if entry.stat().st_mtime < time:
                    os.unlink(entry.path)
            except OSError as error:
                _log.warning("old output %s cannot be deleted: %s", entry.name, error)


def _next_data(descriptor: int, offset: int, size: int) -> int:
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) if offset < size else size
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole up to the end
            return size
        return offset  # a file system without holes


def _next_hole(descriptor: int, offset: int, size: int) -> int:
    try:
        return os.lseek(descriptor, offset, os.SEEK_HOLE) if offset < size else size
    except OSError:
        return size


def _punch_hole(path: Path, offset: int, length: int) -> None:
    """Give the blocks of a range back (fallocate(2), FALLOC_FL_PUNCH_HOLE); the size stays."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
        if libc.fallocate(descriptor, mode, ctypes.c_longlong(offset), ctypes.c_longlong(length)) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)


def _whole_characters(data: bytes, *, wait_for_rest: bool) -> bytes:
    """Leave a UTF-8 character that is cut at the end to the next page; alone on its page only to `wait_for_rest`."""
    for back in range(1, min(_LONGEST_CHARACTER, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 == 0b1100_0000:  # the first byte of several
            length = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return data[:-back] if back < length and (len(data) > back or wait_for_rest) else data
        if byte & 0b1000_0000 == 0:
            break
    return data
