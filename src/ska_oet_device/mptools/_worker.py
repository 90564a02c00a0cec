"""The skeleton of a worker process: an event loop over a work queue, with start-up and shutdown."""

from __future__ import annotations

import abc
import logging
from typing import Any, Protocol

_log = logging.getLogger(__name__)


class EndOfWork:
    """Put on a work queue: no more will come."""


class WorkQueue(Protocol):
    """Where a worker takes its work from."""

    def get(self) -> Any:
        """Wait for the next item."""


class EventQueue(Protocol):
    """Where a worker puts what others are to know."""

    def put(self, item: Any) -> None:
        """Hand over one item; may wait while the reader is slow."""


class Event(Protocol):
    """A flag, as `threading.Event` and `multiprocessing.Event` are."""

    def set(self) -> None: ...
    def is_set(self) -> bool: ...


class ProcWorker(abc.ABC):
    """A process that handles items from a work queue one by one until it is told to stop.

    Subclasses say what is done with an item (`main_func`), and what comes first and last
    (`startup`, `shutdown`).
    """

    def __init__(
        self,
        name: str,
        startup_event: Event,
        shutdown_event: Event,
        event_q: EventQueue,
        work_q: WorkQueue,
        *args: Any,
    ) -> None:
        """Create a worker; nothing runs before `run`.

        :param name: how the worker is called in logs and messages
        :param startup_event: set once the worker is ready for work
        :param shutdown_event: when set, no more items are handled
        :param event_q: where messages for main go
        :param work_q: where work comes from; an `EndOfWork` on it ends the loop
        :param args: handed to `init_args`
        """
        self.name = name
        self.startup_event = startup_event
        self.shutdown_event = shutdown_event
        self.event_q = event_q
        self.work_q = work_q
        self.init_args(*args)

    def init_args(self, *args: Any) -> None:
        """Take the extra arguments of the constructor; none are expected unless a subclass says so."""
        if args:
            raise TypeError(f"{type(self).__name__} takes no further arguments, {len(args)} were given")

    def startup(self) -> None:
        """Prepare for work."""

    def shutdown(self) -> None:
        """Clean up; called once, however the loop ended."""

    def run(self) -> None:
        """Start up, handle items until the end, shut down."""
        self.startup()
        self.startup_event.set()
        try:
            self.main_loop()
        finally:
            self.shutdown()

    def main_loop(self) -> None:
        """Deliver each item to `main_func` until the shutdown event is set or `EndOfWork` arrives."""
        while not self.shutdown_event.is_set():
            item = self.work_q.get()
            if isinstance(item, EndOfWork):
                return
            self.main_func(item)

    @abc.abstractmethod
    def main_func(self, item: Any) -> None:
        """Handle one item."""
