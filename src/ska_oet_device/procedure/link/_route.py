"""One device's bus, joined with main: requests go there, announcements come back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from ...event import Bus, topic_name, topics
from ...trace_context import requested
from .. import messages
from ..script import ProcedureInput


class Sender(Protocol):
    """The link, as a route sees it."""

    def send(self, message: Any) -> None:
        """Send a message to main."""

    def recorded(self, number: int) -> None:
        """Note that an announcement of main is recorded."""


class Route:
    """Joins the bus of one device with main: carries its requests there, and publishes what main tells of it."""

    def __init__(self, link: Sender, device: str, bus: Bus, last_number: int) -> None:
        self._link = link
        self._device = device
        self.bus = bus
        self.last_number = last_number
        management, operator = topics.procedure.management, topics.operator
        self._listeners: dict[type, Callable[..., None]] = {
            topics.procedure.lifecycle.acknowledged: self._acknowledged,
            management.create: self._create,
            management.run: self._run,
            management.stop: self._stop,
            management.context: self._context,
            topics.procedure.check.create: self._check,
            operator.wait_for_qa_ready.enable: self._enable,
            operator.wait_for_qa_ready.disable: self._disable,
            operator.wait_for_qa_ready.override: self._override,
            operator.override.state: self._state,
        }
        for topic, listener in self._listeners.items():
            bus.subscribe(listener, topic)

    def close(self) -> None:
        """Carry nothing any more: main is gone, and whoever asks for a process is to learn that."""
        for topic, listener in self._listeners.items():
            self.bus.unsubscribe(listener, topic)

    def tell(self, announcement: messages.Announcement) -> None:
        """Publish what main tells.  Thread of the link."""
        lifecycle = topics.procedure.lifecycle
        is_change = isinstance(announcement, messages.LifecycleMessage)
        self.bus.publish(lifecycle.statechange if is_change else lifecycle.loaded, message=announcement)

    def _acknowledged(self, number: int) -> None:
        self._link.recorded(number)

    def _create(self, msg_src: int, load: messages.Load) -> None:
        traceparent = requested.traceparent
        self._link.send(replace(load, device=self._device, traceparent=traceparent, asked=_now_if(traceparent)))

    def _check(self, check: messages.Check) -> None:
        self._link.send(replace(check, device=self._device))

    def _run(
        self,
        msg_src: int,
        call: str,
        run_args: ProcedureInput,
        force_start: bool,
        after: int | None = None,
    ) -> None:
        traceparent = requested.traceparent
        args = run_args.as_data()
        self._link.send(
            messages.RunFunction(
                self._device, msg_src, call, args, force_start, after, traceparent, _now_if(traceparent)
            )
        )

    def _stop(self, msg_src: int, reason: str = "") -> None:
        self._link.send(messages.StopProcess(self._device, msg_src, reason))

    def _context(self, context: dict[str, Any]) -> None:
        self._link.send(messages.ContextChanged(self._device, context))

    def _enable(self, msg_src: object) -> None:
        self._broadcast(topics.operator.wait_for_qa_ready.enable, {"msg_src": msg_src})

    def _disable(self, msg_src: object) -> None:
        self._broadcast(topics.operator.wait_for_qa_ready.disable, {"msg_src": msg_src})

    def _override(self, msg_src: object) -> None:
        self._broadcast(topics.operator.wait_for_qa_ready.override, {"msg_src": msg_src})

    def _state(self, msg_src: object, wait_for_qa_ready: bool) -> None:
        self._broadcast(topics.operator.override.state, {"msg_src": msg_src, "wait_for_qa_ready": wait_for_qa_ready})

    def _broadcast(self, topic: type, data: dict[str, Any]) -> None:
        self._link.send(messages.Broadcast(self._device, topic_name(topic), data))


def _now_if(traceparent: str) -> float:
    """Return the time, if somebody traces."""
    return time.time() if traceparent else 0.0
