"""Where devices were when they answered last: in files, so that a probe needs neither the Tango database nor Tango.

They are this user's alone, below $XDG_RUNTIME_DIR, else $TMPDIR, else /tmp. Whatever is wrong with them, they are done
without.
"""

from __future__ import annotations

import contextlib
import os
import stat

_LONGEST = 200  # characters of a file's name
_MOST = 65536  # bytes of a file


def known(host: str, device: str) -> str | None:
    """Return the object reference of a device, as it was noted last; None if it was not."""
    with contextlib.suppress(OSError, ValueError):
        with open(os.path.join(_folder(), _name(host, device)), encoding="ascii", errors="strict") as file:
            key, _, reference = file.read(_MOST).partition("\n")
        if key == _key(host, device):
            return reference.strip()
    return None


def note(host: str, device: str, reference: str) -> None:
    """Note the object reference of a device; a reader sees the whole of it, or what was there before."""
    with contextlib.suppress(OSError, ValueError):
        path = os.path.join(_folder(), _name(host, device))
        new = f"{path}.{os.getpid()}"
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(f"{_key(host, device)}\n{reference}\n")
            os.replace(new, path)
        except BaseException:
            os.unlink(new)
            raise


def _folder() -> str:
    """Return the folder; it is made if it is not there.

    :raises OSError: somebody else could write into it
    """
    above = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/tmp"
    folder = os.path.join(above, f"oet-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not ours alone")
    return folder


def _key(host: str, device: str) -> str:
    return f"{host} {device}".lower().encode().hex()


def _name(host: str, device: str) -> str:
    return _key(host, device)[:_LONGEST]
