"""What a folder holds, written down when it was made, so that whoever uses it later notices each change.

As in git's index, the kernel's notes save reading the files: size, mode and the time of the last change of the inode
(ctime), which no program can set.  Where those differ, as after a new hard link or a restored backup, the content
counts, by its SHA-256.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .own_files import open_regular, read_regular, write_regular

_HEADER = b"manifest 1\n"
_BYTE_CODE = b"__pycache__"
_AT_ONCE = 1024 * 1024  # bytes
_SHOWN = 3  # changes
_WANTING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # which say nothing of a folder
_LARGEST = 256 * 1024 * 1024  # bytes; some million files


class _Entry(NamedTuple):
    """One file, link or folder; of a folder, whose files have entries of their own, the mode alone counts."""

    mode: int
    size: int
    changed: int  # ctime in nanoseconds
    digest: bytes = b""


class Manifest:
    """The content of some parts of a folder.

    What Python keeps in ``__pycache__`` is left out, since it comes and goes, unless `byte_code` is asked for.

    :ivar altered: what was found to be there, and to be something else
    :ivar is_stale: whether the kernel's notes of a file have changed without its content: to be written anew
    """

    def __init__(self, entries: dict[bytes, _Entry]) -> None:
        self._entries = entries
        self.altered: list[str] = []
        self.is_stale = False

    @classmethod
    def take(cls, folder: Path, *parts: str, byte_code: bool = False) -> Manifest:
        """Read all that is there.

        :param parts: names in the folder, which need not be there; none for all of it
        :raises OSError: a folder cannot be read
        """
        top = os.fsencode(folder)
        found = _found_in(top, parts, byte_code)
        return cls({name: entry._replace(digest=_digest_of(top, name, entry)) for name, entry in found})

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """Return what `write` has written; None if there is no such file, or it is something else."""
        try:
            written = read_regular(path, _LARGEST)
            if not written.startswith(_HEADER):
                return None
            entries = {}
            for line in written[len(_HEADER) :].split(b"\0")[:-1]:
                mode, size, changed, digest, name = line.split(b" ", 4)
                entries[name] = _Entry(int(mode, 8), int(size), int(changed), digest)
            return cls(entries)
        except (OSError, ValueError):
            return None

    def write(self, path: Path) -> None:
        """Write it to a file, which is as it was or as it will be, never in between.

        :raises OSError: that cannot be
        """
        lines = (b"%o %d %d %s %s\0" % (*entry, name) for name, entry in self._entries.items())
        write_regular(path, _HEADER + b"".join(lines))

    def changes(self, folder: Path, *parts: str, byte_code: bool = False) -> str:
        """Say what has changed since: the first few changes, as one sentence; empty if nothing has.

        Takes some 6 microseconds a file, and for one whose notes differ the time to read it.  A folder that cannot be
        read, or is being made anew by somebody else, is a change as any other.

        :raises OSError: descriptors or memory are wanting
        """
        try:
            return self._changes(os.fsencode(folder), parts, byte_code)
        except OSError as error:
            if error.errno in _WANTING:
                raise
            where = os.path.relpath(os.fsencode(error.filename or folder), os.fsencode(folder))
            return f"{_shown(where)} cannot be read: {error.strerror}"

    def _changes(self, top: bytes, parts: tuple[str, ...], byte_code: bool) -> str:
        changes, missing = [], set(self._entries)
        for name, now in _found_in(top, parts, byte_code):
            missing.discard(name)
            then = self._entries.get(name)
            if then is None:
                changes.append(f"{_shown(name)} was added")
            elif _is_same(top, name, now, then):
                if now.changed != then.changed:
                    self._entries[name] = now._replace(digest=then.digest)
                    self.is_stale = True
            else:
                changes.append(f"{_shown(name)} was changed")
                self.altered.append(os.fsdecode(name))
        changes += [f"{_shown(name)} is missing" for name in sorted(missing)]
        return ", ".join(changes[:_SHOWN]) + (f", and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else "")


def _found_in(top: bytes, parts: tuple[str, ...], byte_code: bool) -> Iterator[tuple[bytes, _Entry]]:
    """Yield each name below a folder, relative to it, with what the kernel knows of it."""
    wanted = {os.fsencode(part) for part in parts}
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(top, folder)) as entries:
            for entry in entries:
                if wanted and not folder and entry.name not in wanted:
                    continue
                with suppress(FileNotFoundError):  # it has just gone
                    noted = entry.stat(follow_symlinks=False)
                    name = os.path.join(folder, entry.name)
                    if not stat.S_ISDIR(noted.st_mode):
                        yield name, _Entry(noted.st_mode, noted.st_size, noted.st_ctime_ns)
                    elif byte_code or entry.name != _BYTE_CODE:
                        yield name, _Entry(noted.st_mode, 0, 0)
                        waiting.append(name)


def _is_same(top: bytes, name: bytes, now: _Entry, then: _Entry) -> bool:
    if (now.mode, now.size) != (then.mode, then.size):
        return False
    return now.changed == then.changed or _digest_of(top, name, now) == then.digest


def _digest_of(top: bytes, name: bytes, entry: _Entry) -> bytes:
    """Return the digest of a file or a link; what cannot be read has none, and is never the same again."""
    path = os.fsdecode(os.path.join(top, name))
    try:
        if stat.S_ISLNK(entry.mode):
            return hashlib.sha256(os.fsencode(os.readlink(path))).hexdigest().encode()
        if not stat.S_ISREG(entry.mode):
            return b""
        digest = hashlib.sha256()
        with open(open_regular(path), "rb", buffering=0) as file:
            while chunk := file.read(_AT_ONCE):
                digest.update(chunk)
        return digest.hexdigest().encode()
    except OSError:
        return os.urandom(8).hex().encode()


def _shown(name: bytes) -> str:
    text = os.fsdecode(name).encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else "?" for character in text)[-100:]
