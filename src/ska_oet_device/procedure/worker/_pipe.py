"""The queues of a real worker process: both are its pipe to main.

Needs the standard library only, as all that runs in a worker does.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import time
from typing import Any

from ...mptools import Connection, InterruptGate, NotPlainError
from ..messages import (
    CONTROL,
    LISTENING,
    PUBSUB,
    AskDelay,
    ContextChanged,
    Delay,
    Load,
    PubSub,
    Run,
    StateEntered,
    from_payload,
    to_frame,
)
from ..script_message import is_unheard, kwargs_in, read_labelled, said
from ..state import ProcedureState
from ._finalisation import Finalisation
from ._forked import ForkedProcesses
from ._strangers import Strangers
from ._worker import ScriptWorker, now

_log = logging.getLogger(__name__)

_MAIN_THREADS = {signal.SIGTERM, signal.SIGINT}
_UNHEARD_STATUS = 74  # EX_IOERR of sysexits.h


class PipeEvents:
    """The event queue of a worker process: puts messages on its pipe.

    :param forked: what the script forks, and what there is to say of that
    """

    def __init__(self, connection: Connection, forked: ForkedProcesses | None = None) -> None:
        self._connection = connection
        self._forked = forked
        self._is_child = False
        self._has_warned = False

    def put(self, item: Any) -> None:
        if self._is_child:  # how the procedure goes on is the worker's to tell
            if isinstance(item, PubSub):
                self._tell_worker(item)
            return
        if self._forked is not None:
            self._forked.catch_up()
        if item is LISTENING:
            self._connection.send(LISTENING, b"")
        elif isinstance(item, PubSub):
            self._publish(item)
        else:
            # IDLE is passed through: what comes next follows at once.
            passing = isinstance(item, StateEntered) and item.state == ProcedureState.IDLE
            self._connection.send_frame(to_frame(item), more=passing)
            if self._connection.broken:
                os._exit(_UNHEARD_STATUS)  # the script has closed the pipe: nobody would ever learn how it goes on

    def leave_to_parent(self) -> None:
        """In a process that the script forks: say what the script says, and nothing else, by way of the worker."""
        self._is_child = True

    def _tell_worker(self, message: PubSub) -> None:
        assert self._forked is not None
        try:
            self._forked.tell(said(message.topic, message.data, now()))
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                _log.warning("a message of a forked process on topic %s does not arrive: %s", message.topic, error)

    def _publish(self, message: PubSub) -> None:
        payload = said(message.topic, message.data, now())
        if is_unheard(payload) and not self._has_warned:
            self._has_warned = True
            _log.warning("a message on topic %s is too large: it is told without what it carries", message.topic)
        self._connection.send(PUBSUB, payload)


class PipeWork:
    """The work queue of a worker process: a thread reads the pipe and sorts what arrives.

    :ivar finalisation: the end of the process, of which that thread tells how far it is
    """

    def __init__(self, connection: Connection, gate: InterruptGate) -> None:
        self._connection = connection
        self._gate = gate
        self._strangers = Strangers()
        self._next_look: float | None = None
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._has_warned = False
        self.finalisation = Finalisation(gate)

    def get(self) -> Any:
        with self._gate.open():
            return self._items.get()

    def read_for(self, worker: ScriptWorker) -> None:
        """Read until the end.  Target of the reading thread."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _MAIN_THREADS)
        try:
            while True:
                self._wait()
                tag, payload = self._connection.receive()
                if tag == PUBSUB:
                    self._relay_to(worker, payload)
                elif tag == CONTROL:
                    self._sort(worker, from_payload(payload))
        except EOFError:
            os._exit(1)  # main is gone
        except Exception:  # top of a thread: a worker that cannot hear is of no use
            _log.exception("the worker cannot read its pipe")
            os._exit(1)

    def _sort(self, worker: ScriptWorker, message: Any) -> None:
        if isinstance(message, ContextChanged):
            worker.context = message.context  # at once: the script may be loading, and its init is next
            return
        if isinstance(message, AskDelay):
            from ._whereabouts import whereabouts  # hardly any worker needs it

            self._connection.send_frame(to_frame(Delay(whereabouts(self.finalisation.step))))
            self.finalisation.end_if_late()
            return
        if isinstance(message, Load):
            worker.context = message.context  # here, so that a change that follows is the newer one
            worker.output = self._connection.take_descriptor()
        elif isinstance(message, Run):
            self._next_look = time.monotonic() + self._strangers.pause
        self._items.put(message)

    def _wait(self) -> None:
        """Wait for what comes next; reap, now and then, what a script has left to this process.

        A spare sleeps, and so does a script of which nothing has been called.
        """
        while self._next_look is not None:
            left = self._next_look - time.monotonic()
            if left > 0 and self._connection.wait(left):
                return
            self._strangers.reap()
            self._next_look = time.monotonic() + self._strangers.pause

    def _relay_to(self, worker: ScriptWorker, payload: bytes) -> None:
        try:
            message = read_labelled(payload)
            data = kwargs_in(message.kwargs)
        except NotPlainError:  # another script's message, which main does not open
            if not self._has_warned:
                self._has_warned = True
                _log.exception("a message of another script cannot be read, nor need later ones be")
            return
        if data is not None:
            # What a listener starts must not have our signals blocked for ever.  They go to the main thread all the
            # same, as long as that blocks none.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _MAIN_THREADS)
            try:
                worker.relay(PubSub(message.topic, data))
            finally:
                signal.pthread_sigmask(signal.SIG_BLOCK, _MAIN_THREADS)
