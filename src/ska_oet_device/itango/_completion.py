"""What Tab offers behind the magics: scripts, ids of procedures, devices."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import tango
from IPython.core.completer import SimpleCompletion, context_matcher

from ..client import OetClient, OetError, ProcedureState, devices
from ._session import Session, scripts

_LINE = re.compile(r"(?:.*=\s*)?%?(oet_\w+)\s+(.*)", re.DOTALL)
_FRESH = 2.0  # seconds for which an answer of the device is good enough


class Completion:
    """Completes the words behind the magics of one session; what the device does not tell is not offered."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kept: dict[str, tuple[float, list[str]]] = {}
        mark: Callable[[Any], Any] = context_matcher(identifier="ska_oet_device")
        self.matcher = mark(self._matcher())

    def _matcher(self) -> Callable[[Any], dict[str, Any]]:
        """Return a function, which IPython can mark, and not a method."""
        return lambda context: self._match(context)

    def _match(self, context: Any) -> dict[str, Any]:
        found = _LINE.fullmatch(context.line_with_cursor[: context.cursor_position])
        offered = self._offered(found.group(1), found.group(2)) if found else None
        if offered is None:
            return {"completions": []}
        token = context.token
        fitting = [SimpleCompletion(text, type="param") for text in offered if text.startswith(token)]
        return {"completions": fitting, "suppress": bool(fitting), "ordered": True, "matched_fragment": token}

    def _offered(self, magic: str, rest: str) -> list[str] | None:
        """Return what may stand here; None where it is not for us to say."""
        offers: dict[str, Callable[[], list[str]]] = {
            "oet_run": self._scripts,
            "oet_stop": self._living,
            "oet_watch": self._living,
            "oet_output": self._all,
            "oet_describe": self._all,
            "oet_device": lambda: self._cached("devices", devices),
        }
        is_first_word = not [word for word in rest.split()[: None if rest.endswith(" ") else -1] if word[0] != "-"]
        if magic not in offers or not is_first_word or rest.startswith(("/", "./", "../", "~")):
            return None
        return offers[magic]()

    def _scripts(self) -> list[str]:
        return self._cached("scripts", lambda: scripts(self._session.client))

    def _living(self) -> list[str]:
        return self._cached("living", lambda: _ids(self._session.client, living=True)) or self._all()

    def _all(self) -> list[str]:
        return self._cached("all", lambda: _ids(self._session.client, living=False))

    def _cached(self, what: str, ask: Callable[[], list[str]]) -> list[str]:
        when, offered = self._kept.get(what, (-_FRESH, []))
        if time.monotonic() - when < _FRESH:
            return offered
        try:
            offered = ask()
        except (OetError, tango.DevFailed):
            offered = []
        self._kept[what] = (time.monotonic(), offered)
        return offered


def _ids(client: OetClient, living: bool) -> list[str]:
    """Return ids, the newest first."""
    ended = (ProcedureState.COMPLETE, ProcedureState.STOPPED, ProcedureState.FAILED) if living else ()
    return [str(summary.id) for summary in reversed(client.summaries()) if summary.state not in ended]
