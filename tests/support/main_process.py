"""A real main process without Tango, and the test in the place of its device server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ska_oet_device.mptools import Connection, loads, stat_of
from ska_oet_device.procedure import messages

from .waiting import wait_until

DRIVER = Path(__file__).parent.parent / "integration" / "driver.py"
DEVICE = "mid-oet/subarray/01"


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; one that someone else still has to reap has."""
    stat = stat_of(pid)
    return stat is None or stat.state in "ZX"


@dataclass
class Told:
    """What main has said so far, in its order."""

    changes: list[messages.LifecycleMessage] = field(default_factory=list)
    script_messages: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    dropped: list[messages.LifecycleMessage] = field(default_factory=list)
    provenance: list[messages.ProvenanceMessage] = field(default_factory=list)
    problems: list[messages.Supply] = field(default_factory=list)
    order: list[tuple[str, int, Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    unreadable: int = 0


class MainProcess:
    """Starts the driver, speaks with it as a device server does, and ends it."""

    def __init__(self, imports: Sequence[str] = (), spares: int = 2, env: dict[str, str] | None = None) -> None:
        link, theirs = socket.socketpair()
        self._control, control = socket.socketpair()
        source = str(Path(messages.__file__).parents[3])
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
        with theirs, control:
            descriptors = [theirs.fileno(), control.fileno()]
            argv = [sys.executable, str(DRIVER), *map(str, descriptors), str(spares), *imports]
            self.process = subprocess.Popen(
                argv, pass_fds=descriptors, env={**os.environ, "PYTHONPATH": path, **(env or {})}
            )
        self.told = Told()
        self.seen: set[int] = set()
        self._link, self._connection = link, Connection(link)
        self._answers = self._control.makefile("rb")
        self._uids = 0
        self._reading = threading.Event()
        self._reading.set()
        self._thread = threading.Thread(target=self._read, name="device server")
        self._thread.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    # -- what a device server asks

    def create(
        self,
        path: Path,
        *args: Any,
        device: str = DEVICE,
        timeouts: dict[str, float] | None = None,
        grace: float = 10.0,
        **kwargs: Any,
    ) -> int:
        """Have a script loaded; returns the procedure's id."""
        self._uids += 1
        script = {"script_type": "filesystem", "script_uri": f"file://{path}"}
        self.send(
            messages.Load(
                self._uids,
                str(uuid.uuid4()),
                script,
                str(path),
                [str(path.parent)],
                {"args": args, "kwargs": kwargs},
                {"wait_for_qa_ready": False},
                timeouts or {},
                grace,
                device=device,
            )
        )
        return self._uids

    def run(
        self,
        uid: int,
        fn_name: str = "main",
        *args: Any,
        force: bool = False,
        after: int | None = None,
        device: str = DEVICE,
    ) -> None:
        self.send(messages.RunFunction(device, uid, fn_name, {"args": args, "kwargs": {}}, {}, force, after))

    def stop(self, uid: int, device: str = DEVICE) -> None:
        self.send(messages.StopProcess(device, uid))

    def ready(self, path: Path, **options: Any) -> int:
        """Have a script loaded and wait until it is READY."""
        uid = self.create(path, **options)
        self.wait_for(uid, "READY")
        return uid

    def running(self, path: Path, fn_name: str = "main", **options: Any) -> int:
        """Have a script loaded and a function of it called."""
        uid = self.ready(path, **options)
        self.run(uid, fn_name, device=options.get("device", DEVICE))
        self.wait_for(uid, "RUNNING")
        return uid

    def armed(self, path: Path, **options: Any) -> int:
        """Have `main` of a script called, and wait until the script says that it is where the test wants it."""
        uid = self.running(path, **options)
        self.wait_for_message(uid, "armed")
        return uid

    def send(self, message: Any) -> None:
        self._connection.send_frame(messages.to_frame(message))

    # -- what it is told

    def states(self, uid: int) -> list[str]:
        return [change.new_state.name for change in list(self.told.changes) if change.msg_src == uid]

    def wait_for(self, uid: int, state: str, seconds: float = 20.0) -> messages.LifecycleMessage:
        """Return the first announcement that the procedure entered a state."""

        def found() -> messages.LifecycleMessage | None:
            for change in list(self.told.changes):
                if change.msg_src == uid and change.new_state.name == state:
                    return change
            return None

        return wait_until(found, seconds, f"procedure {uid} in {state}; it was in {self.states(uid)}")

    def wait_for_end(self, uid: int, seconds: float = 20.0) -> messages.LifecycleMessage:
        """Return the announcement of the procedure's end."""

        def found() -> messages.LifecycleMessage | None:
            for change in list(self.told.changes):
                if change.msg_src == uid and change.new_state.is_terminal:
                    return change
            return None

        return wait_until(found, seconds, f"the end of procedure {uid}; it was in {self.states(uid)}")

    def said(self, uid: int, topic: str) -> list[dict[str, Any]]:
        """Return what a script has published on a topic."""
        return [data for who, name, data in list(self.told.script_messages) if (who, name) == (uid, topic)]

    def wait_for_message(self, uid: int, topic: str) -> dict[str, Any]:
        return wait_until(lambda: self.said(uid, topic), 20, f"a message of {uid} on {topic}")[0]

    def stop_reading(self) -> None:
        """Be a device server that does not read."""
        self._reading.clear()

    def go_on_reading(self) -> None:
        self._reading.set()

    def _read(self) -> None:
        try:
            while True:
                tag, payload = self._connection.receive()
                self._reading.wait()
                self._take(tag, payload)
        except EOFError:
            return

    def _take(self, tag: int, payload: bytes) -> None:
        told = self.told
        if tag == messages.PUBSUB:
            try:
                _, uid, topic, data, _ = loads(payload)
            except (TypeError, ValueError):
                told.unreadable += 1
                return
            told.order.append(("message", uid, data))
            told.script_messages.append((uid, topic, data))
            return
        message = messages.from_payload(payload)
        if isinstance(message, messages.CaughtUp):
            return
        if isinstance(message, messages.Supply):
            told.problems.append(message)
            return
        told.numbers.append(message.number)
        told.order.append((type(message).__name__, message.msg_src, getattr(message, "new_state", None)))
        if isinstance(message, messages.LifecycleMessage):
            if message.os_pid is not None:
                self.seen.add(message.os_pid)
            entered = [change.new_state for change in told.changes if change.msg_src == message.msg_src]
            is_drop = entered[-1:] == [message.new_state]  # READY once more
            (told.dropped if is_drop else told.changes).append(message)
        else:
            told.provenance.append(message)
        self.send(messages.Acknowledge(message.number))

    # -- how main does

    def look(self) -> dict[str, Any]:
        """Ask main how things stand."""
        self._control.sendall(b"?")
        status: dict[str, Any] = json.loads(self._answers.readline())
        self.seen.update(status["children"])
        return status

    def wait_for_spares(self, count: int = 2) -> list[int]:
        """Wait until so many spares are there and at rest; returns their process ids."""

        def found() -> list[int]:
            status = self.look()
            return status["spares"] if len(status["spares"]) == count and not status["forking"] else []

        return wait_until(found, 20, f"{count} spares")

    def wait_for_template(self, other_than: int | None = None) -> int:
        def found() -> int | None:
            template = self.look()["template"]
            return template if template != other_than else None

        return wait_until(found, 20, "a template process")

    # -- the end

    def kill(self) -> None:
        """kill -9, as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it in good order, and check that nothing is left."""
        self._reading.set()
        if self.process.poll() is None:
            self.look()
        self._control.shutdown(socket.SHUT_RDWR)
        try:
            status = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the driver does not end") from None
        finally:
            self._link.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._answers.close()
            self._control.close()
            self._link.close()
        wait_until(lambda: all(map(is_gone, self.seen)), 10, "the end of every process that was seen")
        assert status in (0, -signal.SIGKILL)
