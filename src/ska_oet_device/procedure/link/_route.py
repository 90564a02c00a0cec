"""One device's requests, on their way to main."""

from __future__ import annotations

from typing import Any, Protocol

from ...event import Bus, topic_name, topics
from .. import messages
from ..messages import Launcher
from ..script import ExecutableScript, ProcedureInput


class Sender(Protocol):
    """The link, as a route sees it."""

    boot: str

    def send(self, message: Any) -> None:
        """Send a message to main."""

    def recorded(self, number: int) -> None:
        """Note that an announcement of main is recorded."""


class Route:
    """Joins the bus of one device with main: carries its requests there, and publishes what main tells of it."""

    def __init__(self, link: Sender, device: str, bus: Bus, launcher: Launcher) -> None:
        self._link = link
        self._device = device
        self._launcher = launcher
        self.bus = bus
        self.last_number = launcher.last_number(link.boot)
        management, operator = topics.procedure.management, topics.operator
        bus.subscribe(self._acknowledged, topics.procedure.lifecycle.acknowledged)
        bus.subscribe(self._create, management.create)
        bus.subscribe(self._run, management.run)
        bus.subscribe(self._stop, management.stop)
        bus.subscribe(self._enable, operator.wait_for_qa_ready.enable)
        bus.subscribe(self._disable, operator.wait_for_qa_ready.disable)
        bus.subscribe(self._override, operator.wait_for_qa_ready.override)
        bus.subscribe(self._state, operator.override.state)

    def tell(self, announcement: messages.Announcement) -> None:
        """Publish what main tells.  Thread of the link."""
        lifecycle = topics.procedure.lifecycle
        is_change = isinstance(announcement, messages.LifecycleMessage)
        self.bus.publish(lifecycle.statechange if is_change else lifecycle.loaded, message=announcement)

    def _acknowledged(self, number: int) -> None:
        self._link.recorded(number)

    def _create(self, msg_src: int, script: ExecutableScript, init_args: ProcedureInput) -> None:
        launch = self._launcher.launch(msg_src)
        self._link.send(
            messages.CreateProcess(
                self._device,
                msg_src,
                launch.run_id,
                script.as_data(),
                launch.path,
                launch.roots,
                init_args.as_data(),
                self._launcher.context(),
                launch.timeouts,
                launch.grace,
                launch.output,
                launch.max_memory,
                launch.source,
            )
        )

    def _run(
        self, msg_src: int, call: str, run_args: ProcedureInput, force_start: bool, after: int | None = None
    ) -> None:
        context = self._launcher.context()
        self._link.send(
            messages.RunFunction(self._device, msg_src, call, run_args.as_data(), context, force_start, after)
        )

    def _stop(self, msg_src: int) -> None:
        self._link.send(messages.StopProcess(self._device, msg_src))

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
