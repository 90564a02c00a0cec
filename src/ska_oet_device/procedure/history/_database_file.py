"""The file of a SQLite history: for our user alone, and written again if somebody removes or cuts it while in use."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import stat
import time as clock
from collections.abc import Callable, Iterable
from pathlib import Path

from sqlalchemy import URL

from ...errors import HistoryError
from ...own_files import FILE_MODE, make_folder, open_regular
from ._connect import BELONGING, connect
from ._soundness import is_sound, set_aside, shows_damage

_WAL_MARKS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")  # what a write-ahead log begins with


def path_of(url: URL) -> Path | None:
    """Return the path of the file that `url` names; None if it names none, or with options of its own."""
    name = url.database if url.get_backend_name() == "sqlite" else None
    return None if not name or name == ":memory:" or name.startswith("file:") or url.query else Path(name)


def make_file(path: Path) -> None:
    """Make the file if it is not there.  A link is a site's own way to say where it is, or will be.

    :raises HistoryError: it cannot be made, or is no file
    """
    try:
        if not path.exists():
            os.close(open_regular(_real(path), os.O_RDWR | os.O_CREAT | os.O_EXCL))
        elif not stat.S_ISREG(path.stat().st_mode):
            raise HistoryError(f"{path} is no regular file")
    except FileExistsError:
        pass
    except OSError as error:
        raise HistoryError(f"{path} cannot be opened: {error.strerror}") from error


class DatabaseFile:
    """A database file in use.  As long as it is held it can be read, though it has lost its name.

    Used by one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        """Hold it.

        :raises sqlite3.Error: it cannot be read
        :raises OSError: it is not there
        """
        self._path = path
        self._file = os.stat(path)
        self._connection = connect(path)
        try:
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchall()  # opens what belongs to it
            real = _real(path)  # SQLite has beside a link's target what belongs to it
            self._real, self._wal = real, real.with_name(real.name + BELONGING[0])
            self._belonging = _stats(real.with_name(real.name + suffix) for suffix in BELONGING)
            self._page = self._connection.execute("PRAGMA page_size").fetchone()[0]
            self._sizes = self._sizes_now()
        except BaseException:
            self._connection.close()
            raise

    def is_lost(self) -> bool:
        """Say whether its name is gone, or is another file's."""
        try:
            return not os.path.samestat(os.stat(self._path), self._file)
        except OSError:
            return True

    def damage(self) -> str:
        """Say what somebody has done to it, though it has its name still; empty if nothing is found.

        :raises sqlite3.Error: that cannot be found out now
        :raises OSError: that cannot be found out now
        """
        if self._wal in self._belonging and not self._has_its_log():
            return "its write-ahead log was removed"
        before, sizes = self._sizes, self._sizes_now()
        if sizes[0] < self._page or not self._log_begins_well():
            return "it was cut short"
        if any(now < once for now, once in zip(sizes, before, strict=True)) and not is_sound(self._real):
            return "it was cut short"  # otherwise it has become smaller as SQLite makes it smaller
        self._sizes = sizes
        return ""

    def _has_its_log(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._wal), self._belonging[self._wal])
        except FileNotFoundError:
            return False

    def _sizes_now(self) -> tuple[int, int]:
        wal = os.stat(self._wal).st_size if self._wal in self._belonging else 0
        return os.stat(self._real).st_size, wal

    def _log_begins_well(self) -> bool:
        """Say so of one that is empty, too.  SQLite has no locks on this file that closing it could undo."""
        if self._wal not in self._belonging:
            return True
        with open(open_regular(self._wal), "rb") as file:
            return file.read(4) in (b"", *_WAL_MARKS)

    def repair(self, damage: str) -> str:
        """Write it again from what can be read of it, return a sentence on what has become of it.

        What cannot be read is set aside; the last state that SQLite had put together takes its place if that is whole.

        :param damage: what `damage` has said
        :raises HistoryError: it cannot be written now; a sentence that says so
        """
        path = self._real
        aside = path.with_name(f"{path.name}.rescued-{clock.time_ns()}-{os.getpid()}")
        begin = f"The history {path} was damaged while it was in use ({damage}); "
        try:
            try:
                self._copy(aside)
            except sqlite3.Error as error:
                if not shows_damage(error):
                    raise
                _remove(aside)
                return begin + _begin_again(path, aside)
            self._remove_what_belongs()
            for suffix in BELONGING:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(path.with_name(path.name + suffix), aside.with_name(f"{aside.name}-not-ours{suffix}"))
            os.replace(aside, path)
        except (OSError, sqlite3.Error) as error:
            _remove(aside)
            raise HistoryError(
                f"{begin}it cannot be written again ({error}); what it holds may be gone when this server ends."
            ) from error
        return begin + "it was written again, and nothing is lost."

    def rescue(self, add_newer: Callable[[Path, Path], bool]) -> str:
        """Write it again, under its name if that is free; returns a sentence on what has become of it.

        :param add_newer: given another file of that name and a copy of this one, says whether that is a copy of this
            one, too, and adds what it lacks
        :raises HistoryError: it cannot be written now; a sentence that says so
        """
        path = _real(self._path)
        mark = clock.strftime("%Y%m%dT%H%M%SZ", clock.gmtime())
        aside = path.with_name(f"{path.name}.rescued-{mark}-{os.getpid()}")
        try:
            make_folder(path.parent)
            self._copy(aside)
            self._remove_what_belongs()
            is_back = _put_back(aside, path) or add_newer(path, aside)
        except (OSError, sqlite3.Error) as error:
            _remove(aside)
            if shows_damage(error):
                return f"The history {path} was removed while it was in use, and what it held cannot be read any more."
            raise HistoryError(
                f"The history {path} was removed while it is in use, and cannot be written again ({error}); "
                "what it holds will be gone when this server ends."
            ) from error
        if is_back:
            _remove(aside)
            return f"The history {path} was removed while it was in use; it was written again, and nothing is lost."
        return (
            f"The history {path} was replaced by another file while it was in use; that is used from now on, "
            f"and what was in the old one is in {aside.name}."
        )

    def _copy(self, aside: Path) -> None:
        self._make_sure_of_room(aside.parent)
        os.close(open_regular(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        with contextlib.closing(connect(aside)) as copy:
            self._connection.backup(copy)
        if not is_sound(aside):  # what is missing from a file is read as zeros
            raise sqlite3.DatabaseError("database disk image is malformed")

    def _make_sure_of_room(self, folder: Path) -> None:
        """Ask before a copy is begun: of gigabytes, most would be written before the disk is full.

        :raises OSError: there is no room for a copy
        """
        pages, size = (self._connection.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_count", "page_size"))
        there = os.statvfs(folder)
        if pages * size > there.f_bavail * there.f_frsize:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    def _remove_what_belongs(self) -> None:
        """Remove the lost file's write-ahead log: it would be taken for that of whatever file has the name next."""
        for path, ours in self._belonging.items():
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), ours):
                    path.unlink()

    def close(self) -> None:
        """Let go of it; may be called twice."""
        self._connection.close()


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _stats(paths: Iterable[Path]) -> dict[Path, os.stat_result]:
    """Return what those files are that are there."""
    found = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found[path] = os.stat(path)
    return found


def _put_back(aside: Path, path: Path) -> bool:
    """Give a copy the name of what it is a copy of; False if there is another file."""
    if path.exists():
        return False
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        os.rename(aside, path)
    return True


def _begin_again(path: Path, copy: Path) -> str:
    """Set a file aside that cannot be read, and put into its place what it holds without its log, if that is whole."""
    broken = set_aside(path)
    with contextlib.suppress(OSError, sqlite3.Error):
        shutil.copyfile(broken, copy)
        os.chmod(copy, FILE_MODE)
        if os.stat(copy).st_size and is_sound(copy):
            os.rename(copy, path)
            return f"it was set aside as {broken.name}, and what was written to it last is lost."
    _remove(copy)
    return f"it cannot be read any more, was set aside as {broken.name}, and is begun anew."


def _remove(path: Path) -> None:
    for suffix in ("", *BELONGING):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
