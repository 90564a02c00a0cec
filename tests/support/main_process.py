"""The main process of an engine, and the test in the place of its caller: it can be deaf, and sees every message.

How main does is seen from outside: by what it says of itself, and by its processes in /proc.
"""

from __future__ import annotations

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

from ska_oet_device.mptools import Connection
from ska_oet_device.procedure import messages
from ska_oet_device.procedure.script_message import kwargs_in, read_labelled

from .processes import descendants_of, is_gone, spares_of, unborn_of
from .waiting import wait_until

DEVICE = "mid-oet/subarray/01"
CONTEXT = {"wait_for_qa_ready": False, "subarray_id": 1}

# Main as it is for an engine, but for what workers find imported whatever is configured.
WITH_IMPORTS = """
import functools, sys
import ska_oet_device._engine_main as engine_main
engine_main.MainProcess = functools.partial(engine_main.MainProcess, imports=%r)
sys.exit(engine_main.main(sys.argv[1:]))
"""


@dataclass
class Told:
    """What main has said so far, in its order."""

    changes: list[messages.LifecycleMessage] = field(default_factory=list)
    script_messages: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    dropped: list[messages.LifecycleMessage] = field(default_factory=list)
    provenance: list[messages.ProvenanceMessage] = field(default_factory=list)
    supply: list[messages.Welcome | messages.Supply] = field(default_factory=list)
    order: list[tuple[str, int, Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    delays: list[messages.DelayMessage] = field(default_factory=list)
    unreadable: int = 0


class MainProcess:
    """Starts the main process of an engine, speaks with it as the engine's caller does, and ends it."""

    def __init__(
        self, imports: Sequence[str] = (), env: dict[str, str] | None = None, within: Sequence[str] = ()
    ) -> None:
        """Start it.

        :param imports: what workers find imported whatever is configured
        :param env: more variables of its environment
        :param within: a program, and its arguments, that runs another one in its place
        """
        link, theirs = socket.socketpair()
        program = ["-c", WITH_IMPORTS % (tuple(imports),)] if imports else ["-m", "ska_oet_device._engine_main"]
        with theirs:
            argv = [*within, sys.executable, *program, str(theirs.fileno()), str(os.getpid()), "", "-v1"]
            self.process = subprocess.Popen(
                argv, pass_fds=[theirs.fileno()], env={**os.environ, **(env or {})}, start_new_session=True
            )
        self.told = Told()
        self.seen: set[int] = set()
        self._link, self._connection = link, Connection(link)
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
        max_memory: int = 0,
        output: Path | str = "",
        context: dict[str, Any] | None = None,
        max_output: int = 0,
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
                CONTEXT if context is None else context,
                timeouts or {},
                grace,
                str(output),
                max_memory=max_memory,
                device=device,
                max_output=max_output,
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
        context: dict[str, Any] | None = None,
    ) -> None:
        if context is not None:
            self.send(messages.ContextChanged(device, context))
        self.send(messages.RunFunction(device, uid, fn_name, {"args": args, "kwargs": {}}, force, after))

    def stop(self, uid: int, device: str = DEVICE, reason: str = "") -> None:
        self.send(messages.StopProcess(device, uid, reason))

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
                _, uid, _, topic, kwargs = read_labelled(payload)
                data = kwargs_in(kwargs) or {}
            except ValueError:
                told.unreadable += 1
                return
            told.order.append(("message", uid, data))
            told.script_messages.append((uid, topic, data))
            return
        message = messages.from_payload(payload)
        if isinstance(message, messages.CaughtUp | messages.Pong | messages.Shutdown):
            told.order.append((type(message).__name__, 0, None))
            return
        if isinstance(message, messages.DelayMessage):
            told.delays.append(message)
            return
        if isinstance(message, messages.Welcome | messages.Supply):
            told.supply.append(message)
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

    def sync(self) -> None:
        """Wait until main has done what it was asked before this; it then tries whether it can make a worker."""
        before = self._pongs
        self.send(messages.Ping(0))
        wait_until(lambda: self._pongs > before, 20, "an answer of main")

    @property
    def _pongs(self) -> int:
        return sum(kind == "Pong" for kind, _, _ in list(self.told.order))

    # -- how main does

    @property
    def problems(self) -> list[str]:
        """What main has said last of the making of workers."""
        return self._supply.problems

    @property
    def supplying(self) -> bool:
        return self._supply.supplying

    @property
    def template(self) -> int | None:
        return self._supply.template_pid

    @property
    def _supply(self) -> messages.Welcome | messages.Supply:
        return wait_until(lambda: self.told.supply, 20, "what main says of itself")[-1]

    def see(self) -> None:
        """Note every process that main has: all are to be gone at the end."""
        self.seen.update(descendants_of(self.pid))

    def spares(self) -> list[int]:
        return spares_of(self.pid)

    def configure(self, spares: int, *preload: str) -> None:
        self.send(messages.Configure(spares, list(preload)))

    def wait_for_spares(self, count: int = 2) -> list[int]:
        """Wait until so many spares are there and at rest; returns their process ids."""

        def found() -> list[int]:
            spares = self.spares()
            return spares if len(spares) == count and not unborn_of(self.pid, self.template) else []

        spares = wait_until(found, 20, f"{count} spares")
        self.see()
        return spares

    def wait_for_template(self, other_than: int | None = None) -> int:
        def found() -> int | None:
            return self.template if self.template != other_than else None

        return wait_until(found, 20, "a template process")

    # -- the end

    def kill(self) -> None:
        """kill -9, as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Close the pipe, have what lives be killed, and check that nothing is left."""
        self._reading.set()
        self.see()
        self._link.shutdown(socket.SHUT_RDWR)
        try:
            if not self._has_ended_within(0.5):
                self.process.terminate()  # what lives now gets no grace period
            if not self._has_ended_within(15):
                self.process.kill()
                self.process.wait()
                raise AssertionError("main does not end")
        finally:
            self._thread.join()
            self._link.close()
        wait_until(lambda: all(map(is_gone, self.seen)), 10, "the end of every process that was seen")
        assert self.process.returncode in (0, -signal.SIGKILL)

    def _has_ended_within(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
