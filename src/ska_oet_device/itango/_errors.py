"""Errors of the client in one line, with the contract's reason; all others as the shell has them."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from IPython.core.error import UsageError

from ..client import OetError, RefusedError


def one_line(error: BaseException) -> str:
    """Return what went wrong: the contract's reason, or the kind of error, and the text."""
    name = error.reason if isinstance(error, RefusedError) else type(error).__name__
    return f"{name}: {' '.join(str(error).split())}"


class OneLineErrors:
    """Shows the client's errors, and those of usage, in one line; itango's handler, if there is one, shows the others.

    :param shell: an IPython shell, which has one handler for all
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._before: tuple[tuple[type[BaseException], ...], Any] = ((), None)

    def load(self) -> None:
        """Take the place of the shell's handler."""
        kinds = tuple(self._shell.custom_exceptions)
        self._before = (kinds, self._shell.CustomTB if kinds else None)
        self._shell.set_custom_exc((OetError, UsageError, *kinds), self._show)
        self._own = self._shell.CustomTB

    def unload(self) -> None:
        """Give it back, unless somebody else has taken it meanwhile."""
        if self._shell.CustomTB is self._own:
            kinds, handler = self._before
            self._shell.custom_exceptions = kinds
            self._shell.CustomTB = handler

    def _show(
        self,
        shell: Any,
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
        tb_offset: int | None = None,
    ) -> Any:
        if isinstance(error, (OetError, UsageError)):
            print(one_line(error))
            return None
        return self._before[1](kind, error, traceback, tb_offset=tb_offset)
