"""What scripts print: one file a procedure, as clients read it.

The recorder writes the files, from pipes that are the descriptors 1 and 2 of the workers, so that C code and
grandchildren are captured, too.  A file that outgrows its limit loses its middle, and offsets stay what they were.

Scripts may write to the folder, too: whatever they have put into a file's place is not waited for, not followed, and
not taken for output.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
import time as clock
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import OetError
from ..own_files import NotRegularError, make_folder, open_real_folder, open_regular
from ..retention import FIRST_DATE
from .run_folders import RunFolders

_log = logging.getLogger(__name__)

LARGEST_PAGE = 512 * 1024  # bytes read for one answer; as JSON a byte may become six characters
_LONGEST_CHARACTER = 4  # bytes
_TAIL_BYTES = 8 * 1024
_TAIL_LINES = 50
_NOT_KEPT = "The output of scripts cannot be kept"
_MOST_AT_ONCE = 10_000  # files that are deleted at once

_NAME = re.compile(r"([1-9][0-9]{0,11})\.log")  # as `path` writes it; an id of more digits is nobody's


class OutputError(OetError):
    """There is something else where the output of a procedure should be."""

    reason = "OET_InvalidState"


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

        :param folder: where the files of one device lie, and no others; a site may have moved it by a link, which is
            followed now, before scripts can put one there
        """
        self._folder = Path(os.path.realpath(folder))
        self.run_folders = RunFolders(self._folder.with_name("runs"))
        self.problem = ""
        """What somebody has put into the folder's place while it was in use, in a sentence; empty when all is well."""

    def path(self, process_uid: int) -> Path:
        """Return where a procedure's output goes."""
        return self._folder / f"{process_uid}.log"

    def prepare(self) -> str:
        """Make the folder; returns what is wrong with it in one sentence, empty if nothing."""
        try:
            make_folder(self._folder)
            os.close(open_real_folder(self._folder))
        except OSError as error:
            return f"{_NOT_KEPT}: {error}."
        return ""

    def look_after(self) -> None:
        """Make the folder anew if somebody has removed it, or has put something else there, which is put aside."""
        try:
            os.close(open_real_folder(self._folder))
            if self.problem.startswith(_NOT_KEPT):
                self.problem = ""
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                make_folder(self._folder)
        except OSError as error:
            self._put_aside(error)

    def _put_aside(self, found: OSError) -> None:
        """Rename what is in the folder's place, never what a link leads to; a link further up may be a site's own."""
        path = self._folder
        try:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                self._say(f"{_NOT_KEPT}: {found}.")
                return
            mark = clock.strftime("%Y%m%dT%H%M%SZ", clock.gmtime())
            aside = path.with_name(f"{path.name}.not-ours-{mark}-{clock.monotonic_ns()}")
            os.rename(path, aside)
            make_folder(path)
        except OSError as error:
            self._say(f"{_NOT_KEPT}: {path} is no folder any more ({error.strerror}).")
            return
        self._say(
            f"{path}, the folder for the output of scripts, was replaced while it was in use: what was there was put "
            f"aside as {aside.name}, and output is kept again; earlier output may be missing."
        )

    def _say(self, sentence: str) -> None:
        if sentence != self.problem:
            self.problem = sentence
            _log.error("%s", sentence)

    def highest_id(self) -> int:
        """Return the highest procedure id for which there is a file, or a folder of its run; 0 if there is none."""
        highest = max(self.run_folders.times(), default=0)
        try:
            with self._opened_folder() as folder, os.scandir(folder) as entries:
                return max([highest, *map(_id_in, entries)])
        except OSError:
            return highest

    def size(self, process_uid: int) -> int:
        """Return how many bytes a procedure has printed, those that were dropped included."""
        try:
            with self._opened(process_uid) as file:
                return os.fstat(file).st_size
        except OSError:
            return 0

    def read(self, process_uid: int, offset: int, limit: int, *, ended: bool) -> Page:
        """Return the output from `offset` on, at most `limit` bytes of it (but at least 4), up to a whole character.

        Where the middle was dropped, the text says how much, and `next_offset` is behind it.

        :raises OutputError: it cannot be read
        """
        try:
            with self._opened(process_uid) as file:
                size = os.fstat(file).st_size
                offset = min(offset, size)
                start = _next_data(file, offset, size)
                note = f"\n[{start - offset} bytes of output were dropped here: MaxOutput]\n" if start > offset else ""
                stop = min(_next_hole(file, start, size), start + max(_LONGEST_CHARACTER, min(limit, LARGEST_PAGE)))
                data = os.pread(file, stop - start, start)
        except FileNotFoundError:
            return Page("", offset, offset, ended)
        except OSError as error:
            raise OutputError(_what_is_wrong(process_uid, error)) from error
        if stop < size or not ended:
            # At the end of what there is so far, the rest of a character is still to come.
            data = _whole_characters(data, wait_for_rest=stop == size)
        following = start + len(data)
        return Page(note + data.decode("utf-8", "replace"), offset, following, ended and following >= size)

    def tail(self, process_uid: int) -> str:
        """Return the last lines; or, in brackets, why there are none to be had."""
        try:
            with self._opened(process_uid) as file:
                size = os.fstat(file).st_size
                data = os.pread(file, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"[{_what_is_wrong(process_uid, error)}]"
        lines = data.decode("utf-8", "replace").split("\n")
        if size > _TAIL_BYTES:
            lines = lines[1:] or lines  # the first one is cut
        return "\n".join(lines[-_TAIL_LINES - 1 :]).lstrip("\0")

    def forget_before(self, time: float, *, keep: Iterable[int] = ()) -> None:
        """Delete files that were last written before `time` (Unix seconds), but not those of the procedures `keep`.

        The folder of the same run goes with its file; that of one that has printed nothing goes by its own time.

        None goes while all are that old.  One from before 2026 was written while the clock was wrong: it is as old as
        those of later procedures.
        """
        try:
            with self._opened_folder() as folder:
                written = {**self.run_folders.times(), **_times_in(folder)}
                now = clock.time()
                if not any(time <= when <= now for when in written.values()):
                    return
                old = {uid for uid, when in written.items() if FIRST_DATE <= when < time}
                undated = {uid for uid, when in written.items() if when < FIRST_DATE and uid < max(old, default=0)}
                for uid in sorted((old | undated) - set(keep))[:_MOST_AT_ONCE]:
                    self.run_folders.remove(uid)  # first: should this process die, the file is what tells it again
                    _forget(folder, self.path(uid).name)
        except OSError:
            return

    @contextlib.contextmanager
    def _opened_folder(self) -> Iterator[int]:
        descriptor = open_real_folder(self._folder)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _opened(self, process_uid: int, flags: int = os.O_RDONLY) -> Iterator[int]:
        with self._opened_folder() as folder:
            descriptor = open_regular(self.path(process_uid).name, flags, folder=folder)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _id_in(entry: os.DirEntry[str]) -> int:
    """Return whose output an entry of the folder is; 0 for nobody's."""
    match = _NAME.fullmatch(entry.name)
    return int(match[1]) if match is not None and not entry.is_dir(follow_symlinks=False) else 0


def _times_in(folder: int) -> dict[int, float]:
    """Return when each procedure's file was written to; of a link that is the link's own time."""
    times = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if uid := _id_in(entry):
                with contextlib.suppress(OSError):
                    times[uid] = entry.stat(follow_symlinks=False).st_mtime
    return times


def _forget(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return  # it has printed nothing
    except OSError as error:
        _log.warning("old output %s cannot be deleted: %s", name, error)


def _what_is_wrong(process_uid: int, error: OSError) -> str:
    if isinstance(error, NotRegularError):
        return f"the output file of procedure {process_uid} is no regular file any more"
    return f"the output of procedure {process_uid} cannot be read: {error.strerror}"


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
