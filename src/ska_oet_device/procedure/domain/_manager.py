"""ProcessManager: asks main_loop for processes, and knows the state of each.  In the device server."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from ...config import Settings
from ...errors import NotConnectedError
from ...event import Bus, topics
from ..messages import LifecycleMessage, Load
from ..script import ExecutableScript, ProcedureInput
from ..state import ProcedureState
from ._launch import find_script, load_of, new_run_id

_ANY_FILE = Settings(script_roots=("/",))


class ProcessManager:
    """Tracks and coordinates ScriptWorker processes.

    It speaks with main_loop through messages on the bus, and keeps no history: that is the
    ScriptExecutionService's.  All methods return at once and may be called by any thread.
    """

    def __init__(
        self,
        states: dict[int, ProcedureState] | None = None,
        state_lock: threading.RLock | None = None,
        *,
        bus: Bus | None = None,
        next_id: Callable[[], int] | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Create a new ProcessManager.

        :param states: states kept by someone else, who also updates them; None to keep them here
        :param state_lock: the lock that goes with `states`
        :param bus: where messages are published; None for a bus of its own
        :param next_id: where ids come from; None to count from 1
        :param settings: what scripts may be run, and their limits; None for any file and the usual limits
        """
        self.bus = bus or Bus()
        self._states: dict[int, ProcedureState] = {} if states is None else states
        self._lock: Any = state_lock or threading.RLock()
        self._next_id = next_id or itertools.count(1).__next__
        self._settings = settings or _ANY_FILE
        if states is None:
            self.bus.subscribe(self._note_state, topics.procedure.lifecycle.statechange)

    def check_connected(self) -> None:
        """See that somebody carries messages to main_loop.

        :raises NotConnectedError: nobody does
        """
        if not self.bus.is_heard(topics.procedure.management.create):
            raise NotConnectedError(
                "nobody carries messages to a main process, which would make the script's process: "
                "ska_oet_device.engine.start_engine starts one"
            )

    def create(self, script: ExecutableScript, *, init_args: ProcedureInput) -> int:
        """Request the creation of a new ScriptWorker process; its state is CREATING.

        :param script: script to execute
        :param init_args: script initialisation arguments
        :return: id assigned to this procedure (the specification calls it PID)
        :raises NotConnectedError: nobody carries messages to main_loop
        :raises OetError: there is no such script, or it may not be run
        """
        self.check_connected()
        path = find_script(script, self._settings)
        with self._lock:
            pid = self._next_id()
            self._states[pid] = ProcedureState.CREATING
        run_id = new_run_id()
        context = {"wait_for_qa_ready": True, "subarray_id": self._settings.subarray_id}  # there is no operator
        self.launch(load_of(pid, script, init_args, self._settings, path=path, run_id=run_id, context=context))
        return pid

    def launch(self, load: Load) -> None:
        """Request a process for a procedure whose id was taken, and whose state is kept, already."""
        self.bus.publish(topics.procedure.management.create, msg_src=load.process_uid, load=load)

    def run(
        self,
        process_id: int,
        *,
        call: str,
        run_args: ProcedureInput,
        force_start: bool = False,
        after: int | None = None,
    ) -> None:
        """Request the execution of a function in a prepared procedure.

        :param process_id: id of the procedure
        :param call: name of the function to call
        :param run_args: late-binding arguments for it
        :param force_start: wait for READY if need be; ignored for terminal states
        :param after: id of a procedure that must have ended before
        :raises ValueError: no such procedure, or it is not READY and `force_start` is not set
        """
        with self._lock:
            state = self._states.get(process_id)
            if state is None:
                raise ValueError(f"there is no procedure {process_id}")
            if state.is_terminal or (state is not ProcedureState.READY and not force_start):
                raise ValueError(f"procedure {process_id} is {state.name}, not READY")
        self.bus.publish(
            topics.procedure.management.run,
            msg_src=process_id,
            call=call,
            run_args=run_args,
            force_start=force_start,
            after=after,
        )

    def change_context(self, context: dict[str, Any]) -> None:
        """Request that what is called from now on is given another context: see Load."""
        self.bus.publish(topics.procedure.management.context, context=context)

    def stop(self, process_id: int, reason: str = "") -> None:
        """Request the end of a procedure's process; nothing is asked for one that has ended.

        :param reason: why, in the words of whoever asks
        :raises ValueError: no such procedure
        """
        with self._lock:
            state = self._states.get(process_id)
        if state is None:
            raise ValueError(f"there is no procedure {process_id}")
        if not state.is_final:
            self.bus.publish(topics.procedure.management.stop, msg_src=process_id, reason=reason)

    def get_state(self, pid: int) -> ProcedureState | None:
        """Get the current state of a procedure, or None if there is no such procedure."""
        with self._lock:
            return self._states.get(pid)

    def has_running(self) -> bool:
        """Check if any procedure is currently RUNNING."""
        with self._lock:
            return ProcedureState.RUNNING in self._states.values()

    def _note_state(self, message: LifecycleMessage) -> None:
        with self._lock:
            self._states[message.msg_src] = message.new_state
