"""The queues of a real worker process: both are its pipe to main.

Needs the standard library only, as all that runs in a worker does.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
from typing import Any

from ...mptools import Connection, InterruptGate, dumps, loads
from ..messages import CONTROL, LISTENING, PUBSUB, Load, PubSub, StateEntered, from_payload, to_frame
from ..state import ProcedureState
from ._worker import ScriptWorker, now

_log = logging.getLogger(__name__)

_UNHEARD_STATUS = 74  # EX_IOERR of sysexits.h


class PipeEvents:
    """The event queue of a worker process: puts messages on its pipe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.label: tuple[str, int] = ("", 0)

    def put(self, item: Any) -> None:
        if item is LISTENING:
            self._connection.send(LISTENING, b"")
        elif isinstance(item, PubSub):
            self._connection.send(PUBSUB, dumps((*self.label, item.topic, item.data, now())))
        else:
            # IDLE is passed through: what comes next follows at once.
            passing = isinstance(item, StateEntered) and item.state == ProcedureState.IDLE
            self._connection.send_frame(to_frame(item), more=passing)
            if self._connection.broken:
                os._exit(_UNHEARD_STATUS)  # the script has closed the pipe: nobody would ever learn how it goes on


class PipeWork:
    """The work queue of a worker process: a thread reads the pipe and sorts what arrives."""

    def __init__(self, connection: Connection, gate: InterruptGate) -> None:
        self._connection = connection
        self._gate = gate
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def get(self) -> Any:
        with self._gate.open():
            return self._items.get()

    def read_for(self, worker: ScriptWorker, events: PipeEvents) -> None:
        """Read until the end.  Target of the reading thread."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        try:
            while True:
                tag, payload = self._connection.receive()
                if tag == PUBSUB:
                    self._relay_to(worker, payload)
                elif tag == CONTROL:
                    message = from_payload(payload)
                    if isinstance(message, Load):
                        events.label = (message.device, message.process_uid)
                    self._items.put(message)
        except EOFError:
            os._exit(1)  # main is gone
        except Exception:  # top of a thread: a worker that cannot hear is of no use
            _log.exception("the worker cannot read its pipe")
            os._exit(1)

    @staticmethod
    def _relay_to(worker: ScriptWorker, payload: bytes) -> None:
        try:
            _, _, topic, data, _ = loads(payload)
        except (TypeError, ValueError):  # another script's message, which main does not open
            _log.exception("a message of another script cannot be read")
            return
        worker.relay(PubSub(topic, data))
