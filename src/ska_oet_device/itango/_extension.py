"""Loading and unloading: magics, completion, displays and one-line errors come and go together."""

from __future__ import annotations

from typing import Any

from ._completion import Completion
from ._display import DISPLAYED
from ._errors import OneLineErrors
from ._magics import Magics
from ._session import Session

_loaded: dict[int, tuple[Any, _Extension]] = {}  # the shell, too: its id is its own while it is held


class _Extension:
    """What one shell was given."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._session = Session()
        self._magics = Magics(shell, self._session)
        self._completion = Completion(self._session)
        self._errors = OneLineErrors(shell)

    def load(self) -> None:
        for name, magic in self._magics.by_name().items():
            self._shell.register_magic_function(magic, "line", name)
        self._shell.Completer.custom_matchers.append(self._completion.matcher)
        for kind, display in DISPLAYED.items():
            self._formatter.for_type(kind, display)
        self._errors.load()

    def unload(self) -> None:
        self._errors.unload()
        for kind in DISPLAYED:
            self._formatter.pop(kind, None)
        self._shell.Completer.custom_matchers.remove(self._completion.matcher)
        for name in self._magics.by_name():
            self._shell.magics_manager.magics["line"].pop(name, None)
        self._session.close()

    @property
    def _formatter(self) -> Any:
        return self._shell.display_formatter.formatters["text/plain"]


def load_ipython_extension(shell: Any) -> None:
    """Give a shell the magics `%oet_…`; does nothing if it has them."""
    if id(shell) not in _loaded:
        extension = _Extension(shell)
        extension.load()
        _loaded[id(shell)] = (shell, extension)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics back, and end the connection to the device."""
    found = _loaded.pop(id(shell), None)
    if found:
        found[1].unload()
