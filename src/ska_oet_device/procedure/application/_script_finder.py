"""Where the scripts are that requests name."""

from __future__ import annotations

from collections.abc import Callable

from ...config import Settings
from ..domain import find_script, locate_script
from ..script import ExecutableScript, GitScript
from ._finder import Finder, place_of


class ScriptFinder:
    """Finds scripts, and waits long for no file system: one may hang, so no lock is held.  Any thread.

    :param settings: returns the settings of the moment
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._finder, self._abort_finder = Finder(), Finder()

    def find(self, script: ExecutableScript) -> str:
        """Return a script's path, as `find_script` does.

        :raises OetError: as `find_script` does, or the file system does not answer
        """
        return self._look_for(script, self._finder, find_script)

    def find_abort(self, script: ExecutableScript) -> str:
        """Return the abort script's path; what else is looked for does not matter to it.

        :raises OetError: as `find` does
        """
        return self._look_for(script, self._abort_finder, find_script)

    def locate(self, script: ExecutableScript) -> str:
        """Return the path of a script that is to be checked; its process finds out whether it is Python.

        :raises OetError: as `find` does
        """
        return self._look_for(script, self._finder, locate_script)

    def _look_for(
        self, script: ExecutableScript, finder: Finder, find: Callable[[ExecutableScript, Settings], str]
    ) -> str:
        settings = self._settings()
        if isinstance(script, GitScript):  # its process looks for it
            return find(script, settings)
        place = place_of(getattr(script, "path", ""), settings.script_roots)
        return finder.find(script.script_uri, lambda: find(script, settings), place)
