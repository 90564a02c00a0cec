"""The rehearsal of a worker: loading and running a script that does nothing.

A forked process shares its memory with the template until it writes to it.  The first writing copies
each page, at some 5 microseconds, and a script's way to READY and to its end writes to hundreds.  A
spare worker has the time to do that in advance.
"""

from __future__ import annotations

import linecache
import os
import socket
import sys
import threading
from typing import Any

from ...mptools import Connection, InterruptGate
from ...this_run import forget_run
from ..messages import Finished, Load, Run, from_payload
from ..script import ProcedureInput
from . import _loader as loader
from ._importable import forget_script
from ._pipe import PipeEvents, PipeWork
from ._script_log import configure_logging
from ._streams import text_stream
from ._worker import ScriptWorker

_NOTHING = ProcedureInput().as_data()
_CONTEXT = {"wait_for_qa_ready": True, "subarray_id": 1}
_SCRIPT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "_nothing.py")


class _RehearsingWorker(ScriptWorker):
    """A worker whose process keeps its title, since it has no script yet."""

    def __init__(self, title: str, *args: Any, **kwargs: Any) -> None:
        self._title = title
        super().__init__(*args, **kwargs)

    def _title_for(self, message: Load) -> str:
        return self._title


def rehearse(title: str) -> None:
    """Do everything once that a worker does between its first message and its last, and leave no trace of it.

    For the main thread of a worker or of the template, where nobody has printed anything yet.

    :param title: the title of the process
    """
    arguments, path = sys.argv, list(sys.path)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        gate = InterruptGate()
        told, heard = Connection(ours, gate), Connection(theirs)
        events, work = PipeEvents(told), PipeWork(told, gate)
        worker = _RehearsingWorker(title, "rehearsal", threading.Event(), threading.Event(), events, work, gate=gate)
        worker.main_func(Load(0, "", {}, _SCRIPT, [], _NOTHING, _CONTEXT, {}, 0.0))
        worker.main_func(Run("main", _NOTHING, _CONTEXT))
        while not isinstance(from_payload(heard.receive().payload), Finished):
            pass
    for descriptor in (1, 2):
        text_stream(descriptor, "")
    configure_logging()
    forget_script()
    forget_run()
    del sys.modules[loader.MODULE_NAME], linecache.cache[_SCRIPT]
    sys.argv, sys.path[:] = arguments, path
