"""A main process without Tango: run by the integration tests, with the test as its device server.

``python driver.py LINK_FD CONTROL_FD SPARES IMPORT...``.  Over the link come the messages that a
device server sends; over the control pipe come JSON lines that ask how things stand, one answer
each.  The end of the control pipe ends everything.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

from ska_oet_device.logs import configure_logging
from ska_oet_device.main import WORKER_ENTRY, _end_all_children
from ska_oet_device.mptools import Channel, Children, EventLoop, WorkerPool, become_subreaper
from ska_oet_device.procedure import messages
from ska_oet_device.procedure.supervision._journal import Journal
from ska_oet_device.procedure.supervision._supervisor import ScriptSupervisor


class Driver:
    def __init__(self, link: socket.socket, control: socket.socket, spares: int, imports: list[str]) -> None:
        self.loop = EventLoop()
        self.children = Children()
        self.pool = WorkerPool(
            self.loop,
            self.children,
            WORKER_ENTRY,
            spares=spares,
            imports=imports,
            import_patience=float(os.environ.get("OET_TEST_IMPORT_PATIENCE", "20")),
        )
        self.journal = Journal()
        self.supervisor = ScriptSupervisor(self.loop, self.children, self.pool, self.journal)
        self.pool.on_change = lambda: self.journal.send(
            messages.to_frame(messages.Supply(list(self.pool.problems), self.pool.supplying, self.pool.template_pid))
        )
        self.channel = Channel(link)
        self.control = control
        self.handlers = {
            messages.Load: self.supervisor.create,
            messages.RunFunction: self.supervisor.run,
            messages.StopProcess: self.supervisor.stop,
            messages.Broadcast: self.supervisor.broadcast,
            messages.Configure: lambda message: self.pool.configure(message.spares, message.preload),
            messages.Acknowledge: lambda message: self.journal.acknowledge(message.number),
        }
        self.loop.watch(self.channel, self.readable, self.writable)
        self.loop.watch(control, self.asked)
        self.journal.connect(self.channel, self.after_send)
        self.loop.on_signal(signal.SIGCHLD, self.children.reap)

    def run(self) -> None:
        self.pool.start()
        self.loop.run()
        self.supervisor.kill_all()
        self.pool.close()
        _end_all_children(self.children)
        self.loop.close()

    def readable(self) -> None:
        for frame in self.channel.receive():
            message = messages.from_payload(frame.payload)
            self.handlers[type(message)](message)

    def after_send(self) -> None:
        if self.channel.pending:
            self.loop.interest(self.channel, read=True, write=True)

    def writable(self) -> None:
        self.channel.flush()
        if not self.channel.pending:
            self.loop.interest(self.channel, read=True, write=False)
        if not self.journal.congested:
            self.supervisor.resume_paused()

    def paused(self) -> int:
        workers = [script._workers.current for script in self.supervisor._scripts.values()]
        return sum(worker is not None and worker.paused for worker in workers)

    def asked(self) -> None:
        if not self.control.recv(1):
            self.loop.stop()
            return
        status = {
            "spares": [worker.pid for worker in self.pool._spares if worker.ready],
            "forking": len(self.pool._forking),
            "template": self.pool.template_pid if self.pool._template.is_ready else None,
            "problems": list(self.pool.problems),
            "supplying": self.pool.supplying,
            "living": [[item["device"], item["process_uid"]] for item in self.supervisor.living],
            "paused": self.paused(),
            "pending": self.channel.pending,
            "descriptors": len(os.listdir("/proc/self/fd")),
            "children": sorted([*self.children._watched, *self.children.orphans()]),
            "watched": len(self.children._watched),
        }
        self.control.sendall(json.dumps(status).encode() + b"\n")


def main() -> None:
    configure_logging("driver")
    become_subreaper()
    link, control = (socket.socket(fileno=int(argument)) for argument in sys.argv[1:3])
    for end in (link, control):
        end.set_inheritable(False)
    Driver(link, control, int(sys.argv[3]), sys.argv[4:]).run()


main()
