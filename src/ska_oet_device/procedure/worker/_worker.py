"""The worker: a process that loads one script and runs its functions on request.

User code runs in the main thread, because Python runs signal handlers there: SIGTERM interrupts
it wherever it is.  A second thread reads the pipe.  Needs the standard library, pypubsub and
setproctitle only, since an environment may bring other versions of anything else.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from types import FrameType, ModuleType
from typing import Any

from ...event import AUTO_TOPIC, prepare_script_bus, publish_to_script
from ...mptools import InterruptGate, ProcWorker, TerminateInterrupt
from ...scripting import ScriptStopped
from ...this_run import ThisRun
from ..marks import run_title
from ..messages import (
    LISTENING,
    LONGEST_NAME,
    LONGEST_REASON,
    TERMINATED_STATUS,
    Env,
    EnvironmentReady,
    FilledIn,
    Finished,
    Load,
    PubSub,
    Run,
    ScriptLoaded,
    StateEntered,
    UserFnComplete,
    UserFnFailed,
)
from ..script import ProcedureInput, read_script
from ..state import ProcedureState
from . import _loader as loader
from ._call import bind
from ._entry_point import check_module
from ._event_loop import ScriptLoop
from ._failures import is_way_out, reason_of, shortened, trace_of
from ._fetch import Prepared, environments_of, prepare, use_checkout
from ._functions import ScriptCallError, forget_functions, function_of
from ._handlers import TermHandlers
from ._importable import let_children_import
from ._result import result_of
from ._script_log import change_tags
from ._streams import Flusher
from ._surroundings import (
    limit_memory,
    offer_compatibility,
    redirect_output,
    set_title,
    tags_of,
    take_identity,
    use_memory_reserve,
)
from ._tracing import Tracing

_log = logging.getLogger(__name__)


_monotonic = time.monotonic  # also where the script has put another one in its place


def now(*, clock: Callable[[], float] = time.time) -> float:
    """Return the time, also where the script has put another time.time in place of Python's."""
    return clock()


def script_signal_handler(
    signal_object: InterruptGate,
    exception_class: type[BaseException],
    signal_num: int,
    current_stack_frame: FrameType | None,
) -> None:
    """Interrupt the running script: raise `exception_class` where it is.

    Main thread of a worker.  If the program's own code is running, `signal_object` keeps the
    exception until that is done.  Siblings are other processes and do not notice.
    """
    signal_object.interrupt(exception_class(f"signal {signal_num}"))


@dataclass
class RunThreadState:
    """The state of a thread running a user function: which thread, which function, what it raised."""

    thread: threading.Thread
    fn_name: str
    exception: BaseException | None = None


class ScriptWorker(ProcWorker):
    """Loads user code in a child process, running functions of that user code on request.

    Four messages come from outside: Load, Env, Run and PubSub.  Two come from the running
    function: UserFnComplete and UserFnFailed.  Messages that the script publishes with pypubsub
    are put on `event_q`, and those that arrive are published locally.
    """

    def __init__(
        self,
        name: str,
        startup_event: Any,
        shutdown_event: Any,
        event_q: Any,
        work_q: Any,
        *args: Any,
        environment: Any = None,
        **kwargs: Any,
    ) -> None:
        """Create a worker; see ProcWorker for the parameters.

        :param environment: the Environment that the script is to run in; None for the server's own
        :param kwargs: `gate`, the InterruptGate that this process's signal handlers use; `flusher`, which writes what
            the script prints and is no line yet
        """
        self.gate: InterruptGate = kwargs.pop("gate", None) or InterruptGate()
        self._flusher: Flusher | None = kwargs.pop("flusher", None)
        if kwargs:
            raise TypeError(f"ScriptWorker has no parameter {', '.join(map(repr, kwargs))}")
        self.environment = environment
        self.context: dict[str, Any] = {}
        self.this_run: ThisRun | None = None
        self.module: ModuleType | None = None
        self.run_state: RunThreadState | None = None
        self.exit_status = 0
        self.loop = ScriptLoop()
        self.handlers = TermHandlers()
        self.tracing = Tracing()
        self.output: int | None = None
        """The pipe for what the script prints, which has come with Load."""
        self._max_memory = 0
        self._result: tuple[str | None, str] = (None, "")
        self._prepared: Prepared | None = None
        self._relayed: tuple[int, str, dict[str, Any]] | None = None
        self._listening = False
        super().__init__(name, startup_event, shutdown_event, event_q, work_q, *args)

    @staticmethod
    def term_handler(
        exception_class: type[BaseException], signal_num: int, current_stack_frame: FrameType | None
    ) -> None:
        """Raise `exception_class` at once: a signal handler for a worker whose own code needs no protection."""
        raise exception_class(f"signal {signal_num}")

    # -- the life of the process

    def startup(self) -> None:
        prepare_script_bus(self.republish, self._subscribed)

    def main_loop(self) -> None:
        """Deliver each work item to main_func until the shutdown event is set; SIGTERM ends it, too."""
        try:
            super().main_loop()
        except TerminateInterrupt:
            self._finish("terminated", "told to stop while no function was running", status=TERMINATED_STATUS)

    def main_func(self, item: Any) -> None:
        """Handle one message of the six kinds."""
        handlers: dict[type, Any] = {
            Load: self._load,
            Env: self._prepare_environment,
            Run: self._run,
            PubSub: self.relay,
            UserFnComplete: self._user_fn_complete,
            UserFnFailed: self._user_fn_failed,
        }
        handlers[type(item)](item)

    def publish_lifecycle(self, new_state: ProcedureState, fn_name: str = "") -> None:
        """Broadcast a lifecycle status change event."""
        self.event_q.put(StateEntered(int(new_state), now(), fn_name[:LONGEST_NAME]))

    def _finish(
        self, outcome: str, reason: str, *, stacktrace: str | None = None, status: int = 0, **more: Any
    ) -> None:
        """Tell how the script ended; the process follows.

        :param more: what else Finished has
        """
        self.exit_status = status
        self.event_q.put(Finished(outcome, _monotonic(), reason[:LONGEST_REASON], shortened(stacktrace), **more))
        self.shutdown_event.set()

    def forget(self) -> None:
        """Let go of the script: what nobody else holds of it is dropped."""
        self.handlers.take_back()
        self.module = self.run_state = None
        self.loop, self.handlers = ScriptLoop(), TermHandlers()
        forget_functions()

    # -- the messages

    def _take_up(self, message: Load) -> None:
        """Make this process that of a script."""
        self.name = f"{message.device}#{message.process_uid}"
        redirect_output(message.output, self.output, self._flusher)
        set_title(self._title_for(message))
        if not self.context:  # else the thread that reads the pipe has it, or a newer one
            self.context = message.context
        self.this_run = take_identity(message)
        self.tracing.take_up(message)
        self.publish_lifecycle(ProcedureState.IDLE)

    def _begin_loading(self, message: Load) -> str:
        """Let the script have what it may have; returns the path of its file."""
        self._max_memory = message.max_memory
        limit_memory(message.max_memory)
        if message.compatible:
            offer_compatibility()
        self.publish_lifecycle(ProcedureState.LOADING)
        return self._prepared.path if self._prepared is not None else message.path

    def _load(self, message: Load) -> None:
        self._take_up(message)
        if message.source is not None and not self._prepare_source(message.source):
            return
        path = self._begin_loading(message)
        try:
            with self.tracing.span("load of"), self._code_of_the_script():
                self.module = self._load_module(path)
                has_init = callable(vars(self.module).get("init"))
                if not has_init:  # else that may bind main
                    check_module(self.module)
        except BaseException as error:  # user code: whatever it raises is the procedure's failure
            if isinstance(error, MemoryError):
                use_memory_reserve()
            self._fail("loading", error)
            return
        self.publish_lifecycle(ProcedureState.IDLE)
        if has_init:
            self.publish_lifecycle(ProcedureState.INITIALISING, "init")
            self.main_func(self._call("init", ProcedureInput.from_data(message.init_args)))
        else:
            self._become_ready()

    def _become_ready(self) -> None:
        """Tell that it is READY, when clients find what has been printed so far."""
        if self._flusher is not None:
            self._flusher.write_now()
        self.publish_lifecycle(ProcedureState.READY)

    def _title_for(self, message: Load) -> str:
        """Return the title of the process of a script; what it forks has it, too."""
        name = os.path.basename(message.path)
        return f"{run_title(message.run_id)}{name} {message.device}#{message.process_uid}"

    def _prepare_source(self, source: dict[str, Any]) -> bool:
        """Get the script from git; False if this worker does not go on, for good or for worse."""
        if "prepared" in source:  # by another worker; this one is of the script's own environment
            self._prepared = Prepared(**source["prepared"])
            use_checkout(self._prepared)
            return True
        self.publish_lifecycle(ProcedureState.PREP_ENV)
        try:
            self._environments = environments_of(source)  # kept, since it keeps the environment until main does
            with self.gate.open():
                self._prepared = prepare(source, self._environments, self._found)
        except BaseException as error:  # a signal, or whatever went wrong: it is the procedure's failure
            self._fail("the preparation of the script", error)
            return False
        if self._prepared.environment:
            handed_over = {**source, "prepared": asdict(self._prepared)}
            self.event_q.put(EnvironmentReady(self._prepared.environment, self._prepared.path, handed_over))
            self.shutdown_event.set()
            return False
        use_checkout(self._prepared)
        self.publish_lifecycle(ProcedureState.IDLE)
        return True

    def _found(self, prepared: Prepared) -> None:
        """The script is there; its environment is made next, if it is to have one."""

    def _tell_provenance(self, path: str, source: bytes, prepared: Prepared | None) -> dict[str, Any]:
        """Tell what was read, and return that."""
        provenance = loader.provenance_of(path, source)
        if prepared is not None:
            provenance["git_commit"] = prepared.commit
            provenance["environment"] = os.path.basename(prepared.environment) or None
        self.event_q.put(ScriptLoaded(provenance))
        return provenance

    def _load_module(self, path: str) -> ModuleType:
        source = read_script(path)
        provenance = self._tell_provenance(path, source, self._prepared)
        let_children_import(path, source, provenance["sha256"])
        before = set(sys.modules)
        module = loader.module_from_source(path, source, has_main=True)
        if self._prepared is not None and self._prepared.environment:
            from ._requirements import warn_of_what_is_not_required  # for scripts with an environment alone

            warn_of_what_is_not_required(set(sys.modules) - before)
        return module

    def _prepare_environment(self, message: Env) -> None:
        self._prepare_source(message.environment)

    def _run(self, message: Run) -> None:
        self.publish_lifecycle(ProcedureState.RUNNING, message.fn_name)
        self.context = message.context
        self._follow_trace(message)
        self.main_func(self._call(message.fn_name, ProcedureInput.from_data(message.run_args)))

    def _follow_trace(self, message: Run) -> None:
        if message.traceparent or self.tracing.traceparent:
            assert self.this_run is not None
            change_tags(tags_of(self.this_run, message.traceparent))
            self.tracing.called(message.traceparent, message.asked, message.fn_name)

    def _context_now(self) -> dict[str, Any]:
        """Return what a function that is called now is told; this process, and what it starts, is told the same."""
        told = self.context
        assert self.this_run is not None
        if self.this_run.subarray_id != told["subarray_id"]:
            self.this_run = replace(self.this_run, subarray_id=told["subarray_id"])
            self.this_run.tell()
        return {**told, **vars(self.this_run)}

    def _call(self, name: str, given: ProcedureInput) -> UserFnComplete | UserFnFailed:
        self.run_state = RunThreadState(threading.current_thread(), name)
        try:
            with self.tracing.span(f"{name[:LONGEST_NAME]} of"), self._code_of_the_script():
                function = function_of(self.module, name)  # type: ignore[arg-type]
                bound = bind(name, function, given, self._context_now())
                if bound.filled_in:
                    self.event_q.put(FilledIn(bound.filled_in))
                value = bound.run(self.loop)
                if name == "main":
                    self.loop.close()  # tasks that are left are main's, too: their clean-up may be stopped
                    self._result = result_of(value)
        except SystemExit as error:
            if loader.exit_status(error) == 0 and not isinstance(error, ScriptStopped):
                return UserFnComplete(name, exited=True)
            self.run_state.exception = error
            return UserFnFailed(name, error)
        except BaseException as error:  # user code: whatever it raises is the procedure's failure
            if isinstance(error, MemoryError):
                use_memory_reserve()
            self.run_state.exception = error
            return UserFnFailed(name, error)
        return UserFnComplete(name, value)

    @contextlib.contextmanager
    def _code_of_the_script(self) -> Iterator[None]:
        """The script's code runs inside: signals interrupt it, or its own handlers answer them."""
        self.handlers.hand_over()
        try:
            with self.gate.open():
                yield
        finally:
            self.handlers.take_back()

    def _user_fn_complete(self, message: UserFnComplete) -> None:
        if self.gate.raised:
            self._finish(
                "terminated", f"{message.fn_name} returned after it was told to stop", status=TERMINATED_STATUS
            )
            return
        if message.fn_name == "init":
            try:
                check_module(self.module)  # type: ignore[arg-type]
            except ScriptCallError as error:
                self._fail("init", error)
                return
        self._become_ready()
        if message.fn_name == "main":
            is_pending = self.gate.waiting is not None or signal.SIGTERM in signal.sigpending()
            self._finish(
                "completed", "completed", unaware=is_pending, result=self._result[0], result_note=self._result[1]
            )

    def _user_fn_failed(self, message: UserFnFailed) -> None:
        self._fail(message.fn_name, message.exception)

    def _fail(self, doing: str, error: BaseException) -> None:
        if isinstance(error, TerminateInterrupt):
            self._finish("terminated", f"told to stop during {doing}", status=TERMINATED_STATUS)
            return
        if isinstance(error, ScriptStopped) and not self.gate.raised:
            self._finish("stopped", error.reason)
            return
        status = (loader.exit_status(error) or 1) if isinstance(error, SystemExit) else 1
        trace = trace_of(error)
        if trace is not None:
            with contextlib.suppress(BaseException):  # whatever the script has made of them
                sys.stdout.flush()  # what it printed came first
            with contextlib.suppress(BaseException):
                print(trace, file=sys.stderr, end="", flush=True)
        reason = reason_of(error)
        if isinstance(error, MemoryError) and self._max_memory:
            reason = f"{reason}; MaxMemory is {self._max_memory / 1024**2:g} MiB"
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            reason = f"{reason}; a process may have {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} files open"
        if not self.gate.raised:
            self._finish("failed", reason, stacktrace=trace, status=status)
        elif is_way_out(error):
            self._finish("terminated", f"told to stop during {doing}", stacktrace=trace, status=TERMINATED_STATUS)
        else:
            why = f"the clean-up of {doing} failed"
            self._finish("terminated", why, stacktrace=trace, status=status, clean_up_error=reason[:LONGEST_REASON])

    # -- messages of the script and for it

    def republish(self, topic: Any = AUTO_TOPIC, **kwargs: Any) -> None:
        """Send a message that the script published to the device and to the other scripts."""
        name = topic.getName()
        relayed, thread = self._relayed, threading.get_ident()
        # What just came from outside must not go out again.  A message that a listener publishes in
        # answer differs from it in its topic or in its data.
        if (
            relayed is not None
            and relayed[:2] == (thread, name)
            and all(kwargs.get(key) is value for key, value in relayed[2].items())
        ):
            return
        try:
            self.event_q.put(PubSub(name, kwargs))
        except ValueError as error:
            _log.error("message on topic %s was not sent: %s", name, error)

    def relay(self, message: PubSub) -> None:
        """Publish a message from outside in this process.  Runs in the thread that reads the pipe."""
        self._relayed = (threading.get_ident(), message.topic, message.data)
        try:
            publish_to_script(message.topic, message.data)
        except BaseException:  # the data need not fit the topic as this script knows it, and a listener may exit
            _log.exception("a message on topic %s could not be published", message.topic)
        finally:
            self._relayed = None

    def _subscribed(self) -> None:
        if not self._listening:
            self._listening = True
            self.event_q.put(LISTENING)
