"""Which scripts there are below a folder, and whether that may have changed.  May take as long as a file system does.

No file is opened: what a script holds is looked at when it is prepared.
"""

from __future__ import annotations

import os
import stat
import time as clock
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from ..script import LARGEST_SCRIPT, FileSystemScript
from ._locate import can_exist, is_below, real_path

_ENDING = ".py"
_PRIVATE = (".", "_")  # what begins so is for scripts, and not for operators
_MOST_LOOKED_AT = 20_000  # entries of folders
_LONGEST_LOOK = 30.0  # seconds
_SETTLES_AFTER = 2.0  # seconds; the clock of a file system has steps
_LOOKED_AT_AGAIN = 60.0  # seconds; what a folder's time does not tell: modes, sizes, where links lead to

_Mark = tuple[int, ...]


@dataclass(frozen=True)
class Listing:
    """What was found below a folder.

    :param names: paths below the folder; of each whether it can be run.  One that cannot be read hides those of the
        same name below later folders all the same
    :param is_whole: whether everything was looked at
    """

    names: dict[str, bool] = field(default_factory=dict)
    is_whole: bool = True
    _folders: tuple[tuple[str, _Mark], ...] = ()
    _settled: bool = False
    _time: float = 0.0

    @property
    def is_current(self) -> bool:
        """Whether a look at the folders' times says that nothing has changed."""
        if not self._settled or clock.monotonic() - self._time > _LOOKED_AT_AGAIN:
            return False
        return all(_mark(path) == mark for path, mark in self._folders)


def list_scripts(root: str, roots: Sequence[str]) -> Listing:
    """Look for scripts below a folder: files that end in `.py`, also where links lead to them within the roots.

    What begins with a dot or an underscore, file or folder, is left out.  A folder that several links lead to is looked
    at once.

    :param root: the folder; if it is not there nothing is below it
    :param roots: all folders in which scripts may lie
    """
    return _Look(root, roots).listing()


def uri_of(name: str) -> str:
    """Return the URI of a script below a root; "" for a name that no URI stands for.

    Only what a DevString cannot carry, or a person cannot see, is percent-encoded, and `%` itself.
    """
    try:
        uri = FileSystemScript.prefix + "".join(map(_character, name))
    except UnicodeEncodeError:  # bytes that are no UTF-8
        return ""
    return uri if FileSystemScript(uri).path == name and can_exist(name) else ""


def _character(character: str) -> str:
    is_shown = character.isprintable() and ord(character) < 256 and character != "%"
    return character if is_shown else quote(character, safe="")


class _Look:
    """One look at everything below a root."""

    def __init__(self, root: str, roots: Sequence[str]) -> None:
        self._root = root
        self._roots = roots
        self._real_roots: list[str] | None = None
        self._began, self._wall = clock.monotonic(), clock.time()
        self._looked_at = 0
        self._is_whole = True
        self._folders: list[tuple[str, _Mark]] = []
        self._found: dict[str, str] = {}  # where each name leads to
        self._waiting: deque[tuple[str, str]] = deque()
        self._links: deque[tuple[str, str]] = deque()  # to folders: those that are reached otherwise go before

    def listing(self) -> Listing:
        self._waiting.append(("", real_path(self._root) or self._root))
        seen = set()
        while (self._waiting or self._links) and self._is_whole:
            below, folder = self._waiting.popleft() if self._waiting else self._links.popleft()
            if folder not in seen:
                seen.add(folder)
                self._folders.append((folder, _mark(folder)))  # before it is read: what comes in between is seen
                self._look_into(folder, below)
        names = {}
        for name, path in self._found.items():
            runs = _can_be_run(path)
            if runs is not None:
                names[name] = runs
        newest = max((mark[2] for _, mark in self._folders if mark), default=0)
        is_settled = abs(self._wall - newest / 1e9) > _SETTLES_AFTER
        return Listing(names, self._is_whole, tuple(self._folders), is_settled, self._began)

    def _look_into(self, folder: str, below: str) -> None:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._looked_at += 1
                    late = clock.monotonic() - self._began > _LONGEST_LOOK
                    if self._looked_at > _MOST_LOOKED_AT or late:
                        self._is_whole = False
                        return
                    if not entry.name.startswith(_PRIVATE):
                        self._note(entry, f"{below}{entry.name}")
        except OSError:  # it is not there any more, or may not be read
            pass

    def _note(self, entry: os.DirEntry[str], name: str) -> None:
        if entry.is_symlink():
            self._note_link(entry.path, name)
        elif entry.is_dir(follow_symlinks=False):
            self._waiting.append((f"{name}/", entry.path))
        elif name.endswith(_ENDING):
            self._found[name] = entry.path

    def _note_link(self, path: str, name: str) -> None:
        target = real_path(path)
        if not target or not self._is_within(target):
            return
        if os.path.isdir(target):
            self._links.append((f"{name}/", target))
        elif name.endswith(_ENDING):
            self._found[name] = target

    def _is_within(self, path: str) -> bool:
        """Say whether a real path lies below one of the roots; asks where they lead to once it has to."""
        if is_below(path, self._folders[0][0]):
            return True
        if self._real_roots is None:
            self._real_roots = [real_path(root) for root in self._roots]
        return any(root and (path == root or is_below(path, root)) for root in self._real_roots)


def _can_be_run(path: str) -> bool | None:
    """Say whether a file can be run, as far as that is known unopened; None: it is none, and hides no other."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return os.access(path, os.R_OK) and found.st_size <= LARGEST_SCRIPT


def _mark(path: str) -> _Mark:
    """Return what is another one when an entry of a folder has come or gone; of a folder that is not there nothing."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns
