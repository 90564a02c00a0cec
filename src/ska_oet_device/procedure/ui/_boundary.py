"""Where a client's request meets Tango: each one is logged, a refusal is audited, and an error becomes DevFailed."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

import tango

from ...errors import OetError, brief
from ...logs import about
from ...trace_context import requested, trace_id
from ..application import Caller
from ..history import LARGEST_NUMBER
from ._devstring import latin1
from ._tracing import traceparent_now

_log = logging.getLogger(__name__)

_LOGGED = 200  # characters of an argument and of an answer
_LONGEST_REFUSAL = 2000  # characters
_IDS = range(1, LARGEST_NUMBER + 1)
_INTERNAL = "OET_Internal"

Audit = Callable[[str, Caller, int, str], None]
"""Keeps command, caller, procedure id (0: none) and answer in the history."""

_T = TypeVar("_T")


class Request:
    """One request of a client: what for, on whose behalf, and what it is answered.

    :ivar caller: who asks; the user is known once the argument is parsed
    """

    def __init__(self, device: str, name: str, arguments: tuple[Any, ...], client: str, via: str = "") -> None:
        self.caller = Caller(client, via=via)
        self._device = device
        self._name = name
        self._arguments = arguments
        self._process_uid = 0
        self._result = "done"
        self._audit: Audit | None = None
        self._traceparent = traceparent_now() if traceparent_now is not None else ""

    def parse(self, parser: Callable[[str], tuple[_T, str | None]]) -> _T:
        """Return what the argument asks for, and note its user and its procedure.

        :raises OetError: of the parser
        """
        asked, user = parser(self._arguments[0])
        self.caller = dataclasses.replace(self.caller, user=user)
        self.concerns(getattr(asked, "process_uid", None) or 0)
        return asked

    def concerns(self, process_uid: int) -> None:
        """Note which procedure is meant, for the log and the audit; 0: none, or one that the service chooses."""
        self._process_uid = process_uid

    def answer(self, text: str) -> str:
        """Return the answer, which the log will show."""
        self._result = f"answered {_brief(text)}"
        return text

    def reject(self, error: OetError) -> str:
        """Note a refusal that is answered, and not raised; returns its reason and its text."""
        text = f"{error.reason}: {brief(str(error), _LONGEST_REFUSAL)}"
        self._note_refusal(text)
        self._result = f"rejected, {text}"
        return latin1(text)

    @contextmanager
    def served(self, audit: Audit | None = None) -> Iterator[Request]:
        """Log what becomes of the request in this context, and raise each error in it as DevFailed.

        :param audit: keeps a refusal; None: it is not kept.  What is accepted is kept by the service
        """
        self._audit = audit
        requested.traceparent = self._traceparent
        try:
            yield self
            self._log(self._result)
        except tango.DevFailed:
            raise
        except OetError as error:
            self._refuse("refused", error.reason, str(error))
        except Exception as error:  # the Tango boundary
            _log.exception("%s failed", self._name, extra=about(self._device))
            self._refuse("failed", _INTERNAL, f"{type(error).__name__}: {error}")
        finally:
            requested.traceparent = ""

    def _refuse(self, result: str, reason: str, text: str) -> None:
        text = brief(text, _LONGEST_REFUSAL)
        self._note_refusal(f"{reason}: {text}")
        self._log(f"{result}, {reason}: {text}")
        # itango shows reason and description, TangoGQL the description alone: the reason stands there, too, at its end.
        tango.Except.throw_exception(reason, latin1(f"{text} [{reason}]"), f"OetDevice.{self._name}")

    def _note_refusal(self, text: str) -> None:
        if self._audit is not None:
            uid = self._process_uid if self._process_uid in _IDS else 0
            self._audit(self._name, self.caller, uid, text)

    def _log(self, result: str) -> None:
        _log.info(
            "request %s(%s) from client %s, user %s: %s",
            self._name,
            ", ".join(map(_brief, self._arguments)),
            self.caller.client or "unknown",
            self.caller.user or "not named",
            result,
            extra=about(self._device, self._process_uid, trace=trace_id(self._traceparent)),
        )


def _brief(value: object) -> str:
    """Return the beginning of an argument or an answer, as the log shows it."""
    if isinstance(value, Sized) and not isinstance(value, str) and len(value) > _LOGGED:
        return f"{len(value)} values"  # an array of ids
    return brief(value if isinstance(value, str) else str(value), _LOGGED)
