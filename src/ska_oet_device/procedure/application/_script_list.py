"""Which scripts an operator may choose from: a list that is looked after, and that nobody waits for.

Each of the folders is looked at in a thread of its own, which comes when there is something to look at: one whose file
system hangs keeps nobody from the others, and what was known of it stays.
"""

from __future__ import annotations

import logging
import threading
import time as clock
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..domain import Listing, list_scripts, uri_of

_log = logging.getLogger(__name__)

MOST_SCRIPTS = 1000
"""Scripts that are listed."""

_MOST_CHARACTERS = 64 * 1024  # of all of them together
_APART = 0.9  # seconds between two looks at a folder; whoever asks comes once a second
_LONGEST_PAUSE = 10.0  # seconds after a look that took long: a file system that hung may be back
_SHARE = 0.1  # of a processor


@dataclass
class _Folder:
    """One of the folders: what was found there, and who is looking."""

    root: str
    listing: Listing = field(default_factory=Listing)
    roots: tuple[str, ...] = ()
    is_known: bool = False
    is_looked_at: bool = False
    due: float = 0.0


class ScriptList:
    """The scripts below ScriptRoots, as URIs.  Any thread.

    :ivar uris: in alphabetical order; replaced, never changed
    :ivar remark: a sentence on what is left out; "" if nothing is
    """

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        look: Callable[[str, Sequence[str]], Listing] = list_scripts,
    ) -> None:
        """Begin with none.

        :param on_change: called when `uris` or `remark` is another one, mostly in a thread of the list
        :param look: what looks for scripts below a folder
        """
        self.uris: tuple[str, ...] = ()
        self.remark = ""
        self.on_change = on_change
        self._list_scripts = look
        self._lock = threading.Lock()
        self._roots: tuple[str, ...] = ()
        self._folders: dict[str, _Folder] = {}

    def look_again(self, roots: Sequence[str]) -> None:
        """Have the folders looked at that it is time for.  Returns at once; to be called once a second.

        :param roots: the folders, in the order in which a script is looked for
        """
        now = clock.monotonic()
        with self._lock:
            is_other, self._roots = tuple(roots) != self._roots, tuple(roots)
            for root in self._roots:
                self._folders.setdefault(root, _Folder(root))
            for folder in list(self._folders.values()):
                if folder.root not in self._roots and not folder.is_looked_at:
                    del self._folders[folder.root]
            due = [each for each in self._wanted() if not each.is_looked_at and (is_other or now >= each.due)]
            for folder in due:
                folder.is_looked_at = True
            is_new = is_other and self._combine()
        for folder in due:
            self._begin(folder)
        if is_new:
            self.on_change()

    def _begin(self, folder: _Folder) -> None:
        try:
            threading.Thread(target=self._look, args=(folder,), name="scripts", daemon=True).start()
        except RuntimeError as error:  # no thread can be had: the next look comes within a second
            _log.error("%s cannot be looked at for scripts: %s", folder.root, error)
            folder.is_looked_at = False

    def _look(self, folder: _Folder) -> None:
        began, used, roots = clock.monotonic(), clock.thread_time(), self._roots
        listing = folder.listing
        try:
            if folder.roots != roots or not listing.is_current:
                listing = self._list_scripts(folder.root, roots)
        except Exception:  # top of a thread: the next look comes within a second
            _log.exception("%s cannot be looked at for scripts", folder.root)
        now, used = clock.monotonic(), clock.thread_time() - used
        with self._lock:
            is_new = listing is not folder.listing or not folder.is_known
            folder.listing, folder.roots, folder.is_known = listing, roots, True
            folder.due = now + max(_APART, used * (1 - _SHARE) / _SHARE, min(now - began, _LONGEST_PAUSE))
            is_new = is_new and self._combine()
            folder.is_looked_at = False
        if is_new:
            self.on_change()

    # -- the lock is held

    def _wanted(self) -> Iterator[_Folder]:
        return (self._folders[root] for root in dict.fromkeys(self._roots))

    def _combine(self) -> bool:
        """Make the list anew; False if it is what it was."""
        found: dict[str, bool] = {}
        for folder in self._wanted():
            for name, runs in folder.listing.names.items():
                found.setdefault(name, runs)
        uris = list(filter(None, (uri_of(name) for name, runs in sorted(found.items()) if runs)))
        shown = tuple(_first(uris))
        before = self.uris, self.remark
        self.uris, self.remark = shown, self._remark(len(shown), len(uris))
        if self.remark and self.remark != before[1]:
            _log.warning("%s", self.remark)
        return before != (self.uris, self.remark)

    def _remark(self, shown: int, found: int) -> str:
        if shown < found:
            return f"There are {found} scripts below ScriptRoots; availableScripts lists the first {shown}."
        crowded = [folder.root for folder in self._wanted() if not folder.listing.is_whole]
        if crowded:
            return f"There is more in {', '.join(crowded)} than can be looked at: availableScripts lacks scripts."
        return ""


def _first(uris: Iterable[str]) -> Iterator[str]:
    """Yield as many as one event may hold."""
    characters = 0
    for number, uri in enumerate(uris):
        characters += len(uri)
        if number >= MOST_SCRIPTS or characters > _MOST_CHARACTERS:
            return
        yield uri
