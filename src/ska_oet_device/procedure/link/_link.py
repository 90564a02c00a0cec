"""The link between the device server's buses and main: one pipe, one thread.

What a device's service publishes under ``procedure.management`` and ``operator`` goes to main;
what main announces is published on the bus of the device it concerns.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any

from ...duties import Duty
from ...event import Bus, topics
from ...mptools import BrokenPipeProtocolError, Channel, Frame
from .. import messages
from ..script_message import read_labelled
from ._main_status import MainStatus
from ._receipts import Receipts
from ._route import Route

_log = logging.getLogger(__name__)

_SILENT_TOO_LONG = 5.0  # seconds; main asks for an answer every two
_READING_PATIENCE = 2.0  # seconds for main to do what it was sent


class Link:
    """The device server's end of the pipe to main.

    `start` begins a thread that reads and publishes on the buses.  Of what the service says is
    recorded (`lifecycle.acknowledged`) main is told, many at a time.  Sending never blocks and may
    be done by any thread.
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
        self.main = MainStatus()
        self._receipts = Receipts(self.send)
        self.on_shutdown: Callable[[], None] = lambda: None
        self.thread_context: Callable[[], Any] = contextlib.nullcontext
        self._welcomed = threading.Event()
        self._tokens = itertools.count(1)
        self._unanswered: dict[int, threading.Event] = {}
        self._is_closed = False
        self._ended_by: Exception | None = None

    def start(self) -> None:
        """Start the thread, and wait until main has said what lives and what was missed.

        :raises TimeoutError: main says nothing for 10 s
        """
        self._thread.start()
        if not self._welcomed.wait(10):
            raise TimeoutError("main has not said what lives within 10 s")

    def close(self) -> None:
        """End the pipe and the thread; what main does not take at once is dropped.  May be called again.

        Not for the link's own thread.
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._channel.flush()
            self._channel.close()
        if self._thread.is_alive():
            self._wake()
            self._thread.join()
        for route in self._take_routes():
            route.close()
        for each in (self._selector, self._wake_reader, self._wake_writer):
            each.close()

    def _take_routes(self) -> list[Route]:
        """Return the routes, which carry nothing any more."""
        routes, self._routes = self._routes, {}
        return list(routes.values())

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
        for living in self.main.living:
            if living["device"] not in self._routes:
                self.send(messages.StopProcess(living["device"], living["process_uid"]))

    def recorded(self, number: int) -> None:
        """Note that an announcement is recorded; main is told when there are many, or by `tell_recorded`."""
        self._receipts.note(number)

    def tell_recorded(self) -> None:
        """Tell main up to which announcement everything is recorded, if it does not know."""
        self._receipts.tell()

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
        if self.main.note_question():
            self.send(messages.Ping(0))

    def wait_for_main(self, seconds: float = _READING_PATIENCE) -> bool:
        """Wait until main has done what it was sent before; False if it has not within that time.

        Any thread but the link's own, which hears the answer.
        """
        token, answered = next(self._tokens), threading.Event()
        self._unanswered[token] = answered
        try:
            self.send(messages.Ping(token))
            return answered.wait(seconds)
        finally:
            del self._unanswered[token]

    def look_after_main(self) -> None:
        """Ask main for a sign of life if it gives none; also if the template is stopped, which it then notices."""
        if self.main.silence > _SILENT_TOO_LONG or self.main.template_is_stopped:
            self.ping()

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
            duty = Duty("hear main")  # should that last, main hears no answer, and starts another device server
            while not self._channel.closed and self._ended_by is None:
                duty.attempt(self._until_the_end)
            if not self._channel.closed:
                self._lose(f"the main process is gone: {self._ended_by}")

    def _until_the_end(self) -> None:
        try:
            self._once()
        except (EOFError, BrokenPipeProtocolError) as error:
            self._ended_by = error

    def _once(self) -> None:
        for key, events in self._selector.select():
            if key.fileobj is self._wake_reader:
                self._wake_reader.recv(4096)
            elif events & selectors.EVENT_READ:
                self._receive()
        with self._lock:
            if self._channel.closed:
                return
            self._channel.flush()
            writing = selectors.EVENT_WRITE if self._channel.pending else 0
            self._selector.modify(self._channel, selectors.EVENT_READ | writing)

    def _receive(self) -> None:
        self.main.note_sign_of_life()
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
            self.main.welcome(message)
            self._tell_health()
        elif isinstance(message, messages.CaughtUp):
            self._welcomed.set()
        elif isinstance(message, messages.Supply):
            self.main.note_supply(message)
            self._tell_health()
        elif isinstance(message, messages.Ping):
            self.send(messages.Pong(message.token))
        elif isinstance(message, messages.Pong):
            self._note_answer(message.token)
        elif isinstance(message, messages.Shutdown):
            self.on_shutdown()
        elif isinstance(message, messages.DelayMessage):
            self._tell_delay(message)
        elif isinstance(message, messages.CheckDone):
            self._tell_check(message)
        else:
            self._to_device(message)

    def _note_answer(self, token: int) -> None:
        if not token:
            self.main.note_answer()
        elif (answered := self._unanswered.get(token)) is not None:  # else nobody waits any longer
            answered.set()

    def _to_device(self, message: messages.Announcement) -> None:
        self._receipts.begin(message.number)
        with self._lock:
            route = self._routes.get(message.device)
            if route is None:
                self._early.setdefault(message.device, []).append(message)
                return
        self._publish(route, message)

    def _publish(self, route: Route, announcement: messages.Announcement) -> None:
        # Recorded by an earlier device server, which died before it said so.
        if announcement.number <= route.last_number:
            self.recorded(announcement.number)
        else:
            route.tell(announcement)

    def _script_message(self, payload: bytes) -> None:
        said = read_labelled(payload)
        route = self._routes.get(said.device)
        if route is not None:
            route.bus.publish(
                topics.script.message,
                msg_src=said.process_uid,
                topic=said.topic,
                data=said.data,
                time=said.time,
                payload=said.kwargs,
            )

    def _tell_delay(self, message: messages.DelayMessage) -> None:
        route = self._routes.get(message.device)
        if route is not None:
            route.bus.publish(topics.procedure.lifecycle.delayed, message=message)

    def _tell_check(self, message: messages.CheckDone) -> None:
        route = self._routes.get(message.device)
        if route is not None:
            route.bus.publish(topics.procedure.check.done, message=message)

    def _tell_health(self) -> None:
        for route in list(self._routes.values()):
            route.bus.publish(topics.supervisor.health, problems=self.main.problems)

    def _lose(self, reason: str) -> None:
        self.main.lost = reason
        self._welcomed.set()
        for route in self._take_routes():
            route.close()
            route.bus.publish(topics.supervisor.lost, reason=reason)
        self.on_shutdown()
