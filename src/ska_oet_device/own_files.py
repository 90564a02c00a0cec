"""Files of our own, in folders where scripts may write, too: their names, for our user's eyes, and really files.

Scripts run as the same user, so any name may lead elsewhere by tomorrow: to a FIFO, whose opening waits for ever, or
by a link to a file of somebody else's.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection
from pathlib import Path

FILE_MODE, FOLDER_MODE = 0o600, 0o700
_OTHERS = 0o077
LARGEST = 1024 * 1024
"""Bytes that a small file of ours may have: a lock, a record, a token."""

_ESCAPED = re.compile(r"[^a-zA-Z0-9_.~:-]")
_LONGEST_NAME = 255  # bytes, as file systems have it
_LEADS_ELSEWHERE = (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP)


class NotRegularError(OSError):
    """What stands under this name is no regular file: a link, a folder, a FIFO, a socket or a device."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(errno.EINVAL, "is no regular file any more", str(path))


def open_regular(path: str | Path, flags: int = os.O_RDONLY, *, folder: int | None = None) -> int:
    """Return a descriptor for a regular file that is not inherited; waits for nobody, and follows no link.

    :param flags: as of os.open; what is made is for our user alone
    :param folder: a descriptor of the folder that `path` is in
    :raises NotRegularError: it is something else
    :raises OSError: it cannot be opened
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags & ~os.O_TRUNC, FILE_MODE, dir_fd=folder)
    except OSError as error:
        if error.errno in _LEADS_ELSEWHERE:
            raise NotRegularError(path) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(path)
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: str | Path, most: int = LARGEST) -> bytes:
    """Return the content of a regular file.

    :param most: bytes that it may have
    :raises NotRegularError: it is something else
    :raises OSError: it cannot be read, or is larger
    """
    with open(open_regular(path), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"has more than {most} bytes", str(path))
    return data


def write_regular(path: Path, data: bytes) -> None:
    """Write a file that a reader sees as it was or as it will be, never in between.

    :raises OSError: it cannot be written
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.unlink(missing_ok=True)
        with open(open_regular(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(data)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def open_folder(path: str | Path) -> int:
    """Return a descriptor for a folder that is not inherited.

    :raises OSError: there is none; a link to one is none
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def open_real_folder(path: str | Path) -> int:
    """Return a descriptor for a folder that really is where `path` says: no link leads to it, not even further up.

    :param path: absolute, and without links when it was noted
    :raises OSError: there is none there, or not any more
    """
    descriptor = open_folder(path)
    try:
        place = os.readlink(f"/proc/self/fd/{descriptor}")
        if place != os.fspath(path):
            raise NotADirectoryError(errno.ENOTDIR, f"a link leads to {place}", os.fspath(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for our user alone.

    :raises OSError: it cannot be made
    """
    try:
        path.mkdir(FOLDER_MODE)
    except FileNotFoundError:
        make_folder(path.parent)
        path.mkdir(FOLDER_MODE, exist_ok=True)
    except FileExistsError:
        if not path.is_dir():
            raise


def narrow(path: str | Path, *, allowed: int = 0) -> bool:
    """Take from others what they may do with a file or folder of ours; say whether there was anything to take.

    A link, and what belongs to another user, is left alone, and so is what cannot be changed.

    :param allowed: the bits of the mode that others may keep
    """
    taken = _OTHERS & ~allowed
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or not found.st_mode & taken:
            return False
        os.chmod(path, stat.S_IMODE(found.st_mode) & ~taken)
    except OSError:
        return False
    return True


def file_name_of(text: str, reserved: Collection[str] = (), longest: int = _LONGEST_NAME) -> str:
    """Return the name of a file or folder for `text`; what files are seldom called is written as in a URL (``%2F``).

    :param reserved: names that are taken
    :param longest: bytes that it may have; a longer one is replaced by its digest
    """
    name = _ESCAPED.sub(_escape, text)
    if len(name) > longest:
        import hashlib  # main, whose names are short, does without

        return f"%-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"
    if not name.strip("."):
        return name.replace(".", "%2E") or "%"
    return f"%{ord(name[0]):02X}{name[1:]}" if name in reserved else name


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogatepass"))
