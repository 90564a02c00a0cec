"""What earlier versions have left in the state folder: under another name, or open to other users."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from pathlib import Path

from ...files import remove_tree
from ...own_files import make_folder, narrow

_log = logging.getLogger(__name__)

_OURS = ("devices", "git", "environments", "output", "pycache")
_GROUP = 0o070


def close_to_others(root: Path, folder: Path, *, is_default: bool) -> None:
    """Keep what earlier versions made for all to read to our user.

    A site may share a state folder that it has chosen with a group, and a history in it: that has no more for its
    group than the folder allows.  What else we make in it is ours.

    :param root: the state folder
    :param folder: the device's own
    :param is_default: whether nobody has chosen the state folder
    """
    _remove_byte_code(root)
    ours = [root / name for name in _OURS]
    ours += root.glob("unheard-*.json")
    ours += [each for each in (folder, *folder.parents) if root in each.parents]
    ours += [root] if is_default else []
    narrowed = sum(map(narrow, ours))
    group = _bits_of(root) & _GROUP
    narrowed += sum(narrow(path, allowed=group) for path in root.glob("history.sqlite3*"))
    if narrow(folder / "output"):  # else nobody else can have come to what is in it
        narrowed += 1 + sum(map(narrow, (folder / "output").glob("*.log")))
    if narrowed:
        _log.info("%d files and folders in %s were open to other users, and are no more", narrowed, root)


def take_up_folder(former: Path | None, folder: Path) -> None:
    """Take the folder of a device that an earlier version called otherwise."""
    if former is None or folder.exists() or not (former / "owner").is_file():
        return
    with contextlib.suppress(OSError):
        make_folder(folder.parent)
        former.rename(folder)
        _log.info("the state of the device is in %s now", folder)


def take_up_output(former: Path, folder: Path) -> None:
    """Take the output that an earlier version kept under the mere name of the device."""
    if former.is_dir() and not former.is_symlink() and not folder.exists():
        with contextlib.suppress(OSError):
            make_folder(folder.parent)
            former.rename(folder)
            _log.info("the output of earlier scripts is in %s now", folder)


def _remove_byte_code(root: Path) -> None:
    """Remove Python's byte code of what scripts have imported, which is a mere cache, and not kept any more.

    In the state folder it is known by what Python keeps it under, the paths of the sources: those of the state folder
    are among them.  The folder git is ours.
    """
    if not (root / "git").is_symlink():
        remove_tree(root / "git" / "pycache")
    former = root / "pycache"
    sources = {os.path.abspath(root), os.path.realpath(root)}
    if not former.is_symlink() and any(Path(f"{former}{source}").is_dir() for source in sources):
        remove_tree(former)


def _bits_of(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
