"""Errors of the client in one line, with the contract's reason; all others as the shell has them."""

from __future__ import annotations

from traceback import walk_tb
from types import TracebackType
from typing import Any

from IPython.core.error import UsageError

from ..client import OetClient, OetError, Procedure, RefusedError


def one_line(error: BaseException) -> str:
    """Return what went wrong: the contract's reason, or the kind of error, and the text."""
    name = error.reason if isinstance(error, RefusedError) else type(error).__name__
    return f"{name}: {' '.join(str(error).split())}"


class OneLineErrors:
    """Shows the client's errors, those of usage, and Ctrl-C in a wait, in one line; itango's handler shows the others.

    :param shell: an IPython shell, which has one handler for all
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._before: tuple[tuple[type[BaseException], ...], Any] = ((), None)

    def load(self) -> None:
        """Take the place of the shell's handler."""
        kinds = tuple(self._shell.custom_exceptions)
        self._before = (kinds, self._shell.CustomTB if kinds else None)
        self._shell.set_custom_exc((OetError, UsageError, KeyboardInterrupt, *kinds), self._show)
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
        if isinstance(error, KeyboardInterrupt):
            interrupted = _interrupted(traceback)
            if interrupted is None:
                return shell.showtraceback((kind, error, traceback), tb_offset=tb_offset)
            print(f"\nKeyboardInterrupt: {interrupted}")
            return None
        return self._before[1](kind, error, traceback, tb_offset=tb_offset)


def _interrupted(traceback: TracebackType | None) -> str | None:
    """Return what Ctrl-C has left as it was; None if it did not come while the client was at work."""
    frames = [frame for frame, _ in walk_tb(traceback)]
    if any(isinstance(frame.f_locals.get("self"), Procedure) for frame in frames):
        return "the script runs on"
    package = OetClient.__module__.rpartition(".")[0]
    is_ours = any(str(frame.f_globals.get("__name__")).startswith(package) for frame in frames)
    return "nothing was stopped" if is_ours else None
