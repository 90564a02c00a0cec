"""The link between the device server's buses and main: one pipe, one thread.

What a device's service publishes under ``procedure.management`` and ``operator`` goes to main;
what main announces is published on the bus of the device it concerns.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from ...event import Bus, topics
from ...mptools import BrokenPipeProtocolError, Channel, Frame, loads
from .. import messages
from ._route import Route

_log = logging.getLogger(__name__)

_ACKNOWLEDGED_TOGETHER = 64


class Link:
    """The device server's end of the pipe to main.

    `start` begins a thread that reads, publishes on the buses, and acknowledges once every
    listener (the history among them) has been called.  Sending never blocks and may be done by
    any thread.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._channel = Channel(sock)
        self._lock = threading.Lock()
        self._routes: dict[str, Route] = {}
        self._early: dict[str, list[messages.Announcement]] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self.main_pid: int | None = None
        self.boot = ""
        self.restarted = False
        self.living: list[dict[str, Any]] = []
        self._recorded: set[int] = set()
        self._acknowledged: int | None = None
        self._told = 0
        self.problems: list[str] = []
        self.supplying = True
        self.template_pid: int | None = None
        self.lost: str | None = None
        self.last_pong = 0.0
        self.ping_sent = 0.0
        self.on_shutdown: Callable[[], None] = lambda: None
        self.thread_context: Callable[[], Any] = _NoContext
        self._welcomed = threading.Event()

    def start(self) -> None:
        """Start the thread, and wait until main has said what lives and what was missed.

        :raises TimeoutError: main says nothing for 10 s
        """
        self._thread.start()
        if not self._welcomed.wait(10):
            raise TimeoutError("main has not said what lives within 10 s")

    def connect(self, device: str, bus: Bus, *, last_number: int = 0) -> None:
        """Join the bus of a device with main; what was announced for it before is published now.

        :param last_number: main's number of the newest announcement that is recorded already
        """
        route = Route(self, device, bus, last_number)
        while True:
            with self._lock:
                early = self._early.pop(device, [])
                if not early:
                    self._routes[device] = route
                    return
            for message in early:
                self._publish(route, message)

    def untold(self, device: str) -> set[tuple[int, int, float]]:
        """Return procedure, state and time of the changes that are told to a device when it is connected."""
        with self._lock:
            early = list(self._early.get(device, ()))
        changes = (message for message in early if isinstance(message, messages.LifecycleMessage))
        return {(message.msg_src, int(message.new_state), message.time) for message in changes}

    def drop_unclaimed(self) -> None:
        """Let go of devices that this server does not have any more: their procedures are ended."""
        with self._lock:
            early, self._early = self._early, {}
        for device, unclaimed in early.items():
            _log.warning("%d changes are of %s, which is not a device of this server", len(unclaimed), device)
            for message in unclaimed:
                self.recorded(message.number)
        for living in self.living:
            if living["device"] not in self._routes:
                self.send(messages.StopProcess(living["device"], living["process_uid"]))

    def recorded(self, number: int) -> None:
        """Note that an announcement is recorded; main is told when there are many, or by `tell_recorded`.

        It would wake for each one, and only needs to know what it may forget.
        """
        with self._lock:
            self._recorded.add(number)
            if self._acknowledged is None:
                return
            while self._acknowledged + 1 in self._recorded:
                self._acknowledged += 1
                self._recorded.remove(self._acknowledged)
            many = self._acknowledged - self._told >= _ACKNOWLEDGED_TOGETHER
        if many:
            self.tell_recorded()

    def tell_recorded(self) -> None:
        """Tell main up to which announcement everything is recorded, if it does not know."""
        with self._lock:
            newest = self._acknowledged or 0
            if newest <= self._told:
                return
            self._told = newest
        self.send(messages.Acknowledge(newest))

    def send(self, message: Any) -> None:
        """Send a message to main; what cannot be sent at once follows later."""
        frame = messages.to_frame(message)
        with self._lock:
            self._channel.send(frame)
            waiting = self._channel.pending
        if waiting:
            self._wake()

    def ping(self) -> None:
        """Ask main for a sign of life, unless it still owes one."""
        if self.ping_sent <= self.last_pong:
            self.ping_sent = time.monotonic()
            self.send(messages.Ping(0))

    @property
    def answer_overdue(self) -> float:
        """Seconds for which main has not answered a ping; 0 if it owes none."""
        return 0.0 if self.ping_sent <= self.last_pong else time.monotonic() - self.ping_sent

    # -- the thread

    def _wake(self) -> None:
        try:
            self._wake_writer.send(b"w")
        except BlockingIOError:
            pass  # it has been woken already

    def _run(self) -> None:
        with self.thread_context():
            self._selector.register(self._channel, selectors.EVENT_READ)
            self._selector.register(self._wake_reader, selectors.EVENT_READ)
            try:
                while True:
                    self._once()
            except (EOFError, BrokenPipeProtocolError) as error:
                self._lose(f"the main process is gone: {error}")
            except Exception as error:  # top of a thread: without it the device is deaf
                _log.exception("the link to main failed")
                self._lose(f"the link to main failed: {error!r}")

    def _once(self) -> None:
        for key, events in self._selector.select():
            if key.fileobj is self._wake_reader:
                self._wake_reader.recv(4096)
            elif events & selectors.EVENT_READ:
                self._receive()
        with self._lock:
            self._channel.flush()
            writing = selectors.EVENT_WRITE if self._channel.pending else 0
        self._selector.modify(self._channel, selectors.EVENT_READ | writing)

    def _receive(self) -> None:
        for frame in self._channel.receive():
            try:
                self._handle(frame)
            except Exception:  # one bad message must not make the device deaf for the others
                _log.exception("a message of main could not be handled")

    def _handle(self, frame: Frame) -> None:
        """Publish what a frame says."""
        if frame.tag == messages.PUBSUB:
            self._script_message(frame.payload)
            return
        message = messages.from_payload(frame.payload)
        if isinstance(message, messages.Welcome):
            self.main_pid, self.boot, self.living = message.main_pid, message.boot, message.living
            self.restarted = message.restarted
            self._note_supply(message)
        elif isinstance(message, messages.CaughtUp):
            self._welcomed.set()
        elif isinstance(message, messages.Supply):
            self._note_supply(message)
        elif isinstance(message, messages.Pong):
            self.last_pong = time.monotonic()
        elif isinstance(message, messages.Shutdown):
            self.on_shutdown()
        else:
            self._to_device(message)

    def _to_device(self, message: messages.Announcement) -> None:
        with self._lock:
            if self._acknowledged is None:
                self._acknowledged = self._told = message.number - 1
            route = self._routes.get(message.device)
            if route is None:
                self._early.setdefault(message.device, []).append(message)
                return
        self._publish(route, message)

    def _publish(self, route: Route, announcement: messages.Announcement) -> None:
        if (
            announcement.number <= route.last_number
        ):  # recorded by an earlier device server, which died before it said so
            self.recorded(announcement.number)
        else:
            route.tell(announcement)

    def _script_message(self, payload: bytes) -> None:
        device, uid, topic, data, sent = loads(payload)
        route = self._routes.get(device)
        if route is not None:
            route.bus.publish(topics.script.message, msg_src=uid, topic=topic, data=data, time=sent, payload=payload)

    def _note_supply(self, message: messages.Welcome | messages.Supply) -> None:
        problems = self.problems = message.problems
        self.supplying, self.template_pid = message.supplying, message.template_pid
        for route in list(self._routes.values()):
            route.bus.publish(topics.supervisor.health, problems=problems)

    def _lose(self, reason: str) -> None:
        self.lost = reason
        self._welcomed.set()
        for route in list(self._routes.values()):
            route.close()
            route.bus.publish(topics.supervisor.lost, reason=reason)
        self.on_shutdown()


class _NoContext:
    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...
