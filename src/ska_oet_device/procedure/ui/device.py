"""The Tango device: parses, asks the service, answers.  The contract says what clients see."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import tango
from tango.server import attribute, command

from ... import __version__
from ...errors import OetError
from ...logs import about
from ..application import Caller, PrepareProcessCommand, StartProcessCommand, StopProcessCommand
from ..state import ProcedureState
from ._clients import ClientNames
from ._health import Health
from ._host import DeviceHost, Runtime
from ._properties import DeviceProperties
from ._pusher import PUSHED
from ._start_check import own_address
from ._summaries import summaries_json, summary_json
from ._tango_logs import TangoLogs
from ._views import procedure_rows, progress_values
from .codec import (
    RunRequest,
    event_data,
    latin1,
    page_data,
    parse_output,
    parse_prepare,
    parse_requests,
    parse_run,
    parse_start,
    parse_stop,
    request_data,
    to_json,
)

_log = logging.getLogger(__name__)

_CLIENTS = ClientNames()
_IDS = range(1, 2**63)
_MOST_PROCEDURES = 100_000
_LOGGED = 200  # characters of an argument and of an answer
_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")
_Act = Callable[[_T, Caller], str]


class _Asking(threading.local):
    """What is known of the request that a thread is doing."""

    caller: Caller | None = None
    process_uid = 0


_ASKING = _Asking()


def _refuse(reason: str, text: str, origin: str) -> None:
    # itango shows reason and description, TangoGQL the description alone: the reason stands there, too, at its end.
    tango.Except.throw_exception(reason, latin1(f"{text} [{reason}]"), origin)


def _brief(value: object) -> str:
    """Return the beginning of an argument or an answer, as the log shows it."""
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _LOGGED else f"{text[:_LOGGED]}… ({len(text)} characters)"


def _answers_dev_failed(method: _F) -> _F:
    """Log a request with its answer, and turn an error into DevFailed: the one place where that is done."""

    @functools.wraps(method)
    def wrapper(self: OetDevice, *args: Any) -> Any:
        _ASKING.caller, _ASKING.process_uid = None, 0
        try:
            answer = method(self, *args)
            self._log_request(method.__name__, args, "done" if answer is None else f"answered {_brief(answer)}")
            return answer
        except OetError as error:
            self._log_request(method.__name__, args, f"refused, {error.reason}: {error}")
            _refuse(error.reason, str(error), f"OetDevice.{method.__name__}")
        except tango.DevFailed:
            raise
        except Exception as error:  # the Tango boundary
            self._log_request(method.__name__, args, f"failed, OET_Internal: {type(error).__name__}: {error}")
            _log.exception("%s failed", method.__name__, extra=about(self.get_name()))
            _refuse("OET_Internal", f"{type(error).__name__}: {error}", f"OetDevice.{method.__name__}")

    return cast(_F, wrapper)


class OetDevice(DeviceProperties):
    """Executes observing scripts: prepares, starts and stops them in processes of their own."""

    runtime: ClassVar[Runtime]
    """Set once, before the server runs: what outlives a device object."""
    logs: ClassVar[TangoLogs]
    """Likewise: the levels and the targets of the log."""

    # -- life

    def init_device(self) -> None:
        super().init_device()
        self.logs.attach(self, is_new=not hasattr(self, "_host"))
        self.set_state(tango.DevState.INIT)
        self.set_status("The device is being initialised.")
        for name in ("State", "Status", *PUSHED):
            self.set_change_event(name, True, False)
            self.set_archive_event(name, True, False)
            self.set_alarm_event(name, True, False)
        host = self.runtime.host(self.get_name(), functools.partial(_uri_of, self.get_name()))
        self._host: DeviceHost = host
        self._service = host.service
        host.pusher.attach(self)

    def delete_device(self) -> None:
        """Let the device object go; its procedures run on."""
        host = getattr(self, "_host", None)
        if host is not None:
            host.pusher.detach(ends=not self._is_in_init())
        self.logs.detach(self.get_name())
        super().delete_device()

    def _is_in_init(self) -> bool:
        """Say whether this object lives on, and the monitor for which a push may wait is held: in the command Init.

        DevRestart, RestartServer and the end of the server destroy the object, and do not hold its monitor (tried).
        """
        util = tango.Util.instance()
        ends = util.is_device_restarting(self.get_name()) or util.is_svr_starting() or util.is_svr_shutting_down()
        return not ends

    def _caller(self, user: str | None) -> Caller:
        """Return who asks.  Only the thread of the command itself knows."""
        if tango.Util.instance().is_svr_starting():  # a memorised value is written: there is no client
            return Caller("memorised value", user)
        return Caller(_CLIENTS.name_of(self.get_client_ident()), user)

    # -- commands

    def _log_request(self, name: str, arguments: tuple[Any, ...], result: str) -> None:
        caller = _ASKING.caller or self._caller(None)
        _log.info(
            "request %s(%s) from client %s, user %s: %s",
            name,
            ", ".join(map(_brief, arguments)),
            caller.client or "unknown",
            caller.user or "not named",
            result,
            extra=about(self.get_name(), _ASKING.process_uid),
        )

    def _audited(self, name: str, text: str, parse: Callable[[str], tuple[_T, str | None]], act: _Act[_T]) -> str:
        """Parse a request, do it for its caller, and keep a refusal in the history; acceptances are kept below."""
        user, uid = None, 0
        try:
            request, user = parse(text)
            uid = getattr(request, "process_uid", 0)
            _ASKING.caller, _ASKING.process_uid = self._caller(user), uid
            return act(request, _ASKING.caller)
        except OetError as error:
            uid = uid if uid in _IDS else 0
            self._service.audit(name, self._caller(user), uid, f"{error.reason}: {error}")
            raise
        except Exception as error:  # refused as well, though nobody meant to
            self._service.audit(name, self._caller(user), uid, f"OET_Internal: {type(error).__name__}: {error}")
            raise

    @command(
        dtype_in=str,
        doc_in="PrepareProcessCommand as JSON, or a bare script URI",
        dtype_out=str,
        doc_out="ProcedureSummary as JSON",
    )
    @_answers_dev_failed
    def Prepare(self, argument: str) -> str:
        """Load a script in a process of its own, and call its init; progress arrives as events."""

        def prepare(request: PrepareProcessCommand, caller: Caller) -> str:
            return summary_json(self._service.prepare(request, caller))

        return self._audited("Prepare", argument, parse_prepare, prepare)

    @command(
        dtype_in=str,
        doc_in="StartProcessCommand as JSON, or a bare procedure id",
        dtype_out=str,
        doc_out="ProcedureSummary as JSON",
    )
    @_answers_dev_failed
    def Start(self, argument: str) -> str:
        """Call a function of a prepared script."""

        def start(request: StartProcessCommand, caller: Caller) -> str:
            return summary_json(self._service.start(request, caller))

        return self._audited("Start", argument, parse_start, start)

    @command(
        dtype_in=str,
        doc_in="StopProcessCommand as JSON, or a bare procedure id",
        dtype_out=str,
        doc_out="JSON list of ProcedureSummary: the abort script's, if one was started",
    )
    @_answers_dev_failed
    def Stop(self, argument: str) -> str:
        """End a procedure, whatever it is doing; never refused while its process lives."""

        def stop(request: StopProcessCommand, caller: Caller) -> str:
            answer = summaries_json(self._service.stop(request, caller))
            self._host.pusher.refresh()  # Status says that it is being stopped
            return answer

        return self._audited("Stop", argument, parse_stop, stop)

    @command(
        dtype_in=str,
        doc_in="Prepare's JSON plus fn_name and run_args, or a bare script URI",
        dtype_out=str,
        doc_out="ProcedureSummary as JSON",
    )
    @_answers_dev_failed
    def Run(self, argument: str) -> str:
        """Prepare a script, and start it as soon as it is READY."""

        def run(request: RunRequest, caller: Caller) -> str:
            return summary_json(self._service.run(request.prepare, request.fn_name, request.run_args, caller))

        return self._audited("Run", argument, parse_run, run)

    @command(
        dtype_in=tango.DevVarLong64Array,
        doc_in="Procedure ids; empty for all in the attributes",
        dtype_out=str,
        doc_out="JSON list of ProcedureSummary",
    )
    @_answers_dev_failed
    def Summarise(self, ids: Any) -> str:
        """Return what is known of procedures."""
        pids = [int(pid) for pid in ids] if ids is not None else []
        if not pids:
            return self._host.summaries.json(self._service.summarise())
        return summaries_json(self._service.summarise(pids))

    @command(
        dtype_in=tango.DevLong64,
        doc_in="A sequence number; 0 for all",
        dtype_out=str,
        doc_out="JSON list of the later lifecycle events, oldest first, at most 1,000",
    )
    @_answers_dev_failed
    def LifecycleEvents(self, sequence: int) -> str:
        """Return the lifecycle events that a client has missed."""
        return to_json([event_data(event) for event in self._service.lifecycle_events(int(sequence))])

    @command(
        dtype_in=tango.DevLong64,
        doc_in="A sequence number; 0 for all that are kept",
        dtype_out=str,
        doc_out="JSON list of the later messages of scripts, oldest first, at most 1,000",
    )
    @_answers_dev_failed
    def ScriptEvents(self, sequence: int) -> str:
        """Return the messages of scripts that a client has missed, as far as they are kept."""
        return self._host.pusher.messages.after(int(sequence))

    @command(
        dtype_in=str,
        doc_in="JSON: process_uid, offset and limit in bytes; or a bare procedure id",
        dtype_out=str,
        doc_out="JSON: text, offset, next_offset, complete",
    )
    @_answers_dev_failed
    def Output(self, argument: str) -> str:
        """Return a page of what a script and its children have printed."""
        request = parse_output(argument)
        return to_json(page_data(self._service.read_output(request.process_uid, request.offset, request.limit)))

    @command(
        dtype_in=str,
        doc_in="JSON: before (a request's number; 0: from the newest) and limit; or nothing",
        dtype_out=str,
        doc_out="JSON list of requests, newest first: who asked what, when, and with which answer",
    )
    @_answers_dev_failed
    def Requests(self, argument: str) -> str:
        """Return who asked for what."""
        request = parse_requests(argument)
        return to_json([request_data(item) for item in self._service.requests(request.before, request.limit)])

    @command(dtype_out=str, doc_out="JSON list: env_id, state, size, created, last_used, in_use, description, log …")
    @_answers_dev_failed
    def Environments(self) -> str:
        """Return what is known of the environments of scripts, the least recently used first."""
        return to_json([dataclasses.asdict(info) for info in self._service.environments()])

    @command(dtype_in=str, doc_in="Id of an environment")
    @_answers_dev_failed
    def RemoveEnvironment(self, env_id: str) -> None:
        """Remove an environment; refused while it is in use."""

        def parse(text: str) -> tuple[str, None]:
            return text.strip(), None

        def remove(found: str, caller: Caller) -> str:
            self._service.remove_environment(found, caller)
            return ""

        self._audited("RemoveEnvironment", env_id, parse, remove)

    @command
    @_answers_dev_failed
    def OverrideWaitForQaReady(self) -> None:
        """Tell the scripts that wait for quality assurance to go on, this once."""
        self._service.audit("OverrideWaitForQaReady", self._caller(None), 0, "accepted")
        self._service.override_wait_for_qa_ready(self.get_name())

    # -- attributes

    @attribute(dtype=(np.int64,), max_dim_x=_MOST_PROCEDURES, doc="Procedure ids, oldest first")
    def procedureIds(self) -> list[int]:
        return procedure_rows(self._service.snapshot())[0]

    @attribute(dtype=(str,), max_dim_x=_MOST_PROCEDURES, doc="Script URIs, in the order of procedureIds")
    def procedureScripts(self) -> list[str]:
        return procedure_rows(self._service.snapshot())[1]

    @attribute(dtype=(str,), max_dim_x=_MOST_PROCEDURES, doc="States, in the order of procedureIds")
    def procedureStates(self) -> list[str]:
        return procedure_rows(self._service.snapshot())[2]

    @attribute(dtype=str, doc="JSON list of ProcedureSummary, without stack traces")
    def procedures(self) -> str:
        return self._host.pusher.views.json(self._service.snapshot().summaries)

    @attribute(dtype=np.int64, doc="The procedure that is RUNNING, else the one that changed last; 0: none yet")
    def activeProcedureId(self) -> int:
        return self._service.snapshot().active.process_uid

    @attribute(dtype=ProcedureState, doc="State of the active procedure")
    def activeProcedureState(self) -> ProcedureState:
        return self._service.snapshot().active.state

    @attribute(dtype=str, doc="The function that the active procedure is executing")
    def activeFunction(self) -> str:
        return latin1(self._service.snapshot().active.fn_name)

    @attribute(dtype=float, unit="%", min_value=0, max_value=100, doc="How far the active script says it has come")
    def activeProgress(self) -> tuple[float, float, tango.AttrQuality]:
        percent, _, quality = progress_values(self._service.progress())
        return percent, tango.TimeVal.now().totime(), quality

    @attribute(dtype=str, doc="What the active script says it is doing")
    def activeActivity(self) -> tuple[str, float, tango.AttrQuality]:
        _, activity, quality = progress_values(self._service.progress())
        return activity, tango.TimeVal.now().totime(), quality

    @attribute(dtype=str, doc="JSON of the newest lifecycle event")
    def lifecycleEvent(self) -> tuple[str, float, tango.AttrQuality]:
        text, _, time = self._host.pusher.lifecycle_event()
        return text, time, tango.AttrQuality.ATTR_VALID

    @attribute(dtype=np.int64, doc="Sequence number of the newest lifecycle event")
    def lifecycleSequence(self) -> tuple[int, float, tango.AttrQuality]:
        _, sequence, time = self._host.pusher.lifecycle_event()
        return sequence, time, tango.AttrQuality.ATTR_VALID

    @attribute(dtype=str, doc="JSON of the newest message that a script published")
    def scriptEvent(self) -> tuple[str, float, tango.AttrQuality]:
        text, time = self._host.pusher.script_event()
        return text, time, tango.AttrQuality.ATTR_VALID

    @attribute(dtype=str, doc="The last lines that the active script printed")
    def scriptOutput(self) -> str:
        return self._host.pusher.script_output()

    @attribute(dtype=str, doc="Stack trace of the newest failure")
    def stacktrace(self) -> str:
        return latin1(self._service.snapshot().newest_failure)

    @attribute(
        dtype=bool,
        access=tango.AttrWriteType.READ_WRITE,
        memorized=True,
        hw_memorized=True,
        doc="Whether scripts wait until quality assurance is ready",
    )
    def waitForQaReady(self) -> bool:
        return self._service.script_context.wait_for_qa_ready

    @waitForQaReady.write  # type: ignore[no-redef]
    def waitForQaReady(self, enabled: bool) -> None:
        self._service.audit("waitForQaReady", self._caller(None), 0, f"accepted; set to {bool(enabled)}")
        self._service.set_wait_for_qa_ready(bool(enabled), self.get_name())
        _ASKING.caller, _ASKING.process_uid = None, 0
        self._log_request("waitForQaReady", (bool(enabled),), "done")

    @attribute(dtype=Health, doc="Whether this server can do its job")
    def healthState(self) -> Health:
        self._host.link.ping()  # whoever looks again learns whether main has answered
        self._host.pusher.refresh()  # and finds the reasons in Status
        return self._host.pusher.diagnosis().health

    @attribute(dtype=str, doc="Version of this program")
    def versionId(self) -> str:
        return __version__

    @attribute(dtype=str, doc="Name, version and description of this program")
    def buildState(self) -> str:
        return f"ska-oet-device, {__version__}, executes observing scripts in supervised processes"


def _uri_of(device: str) -> str:
    """Return the name by which clients find a device; without a database it holds this server's own address."""
    if not tango.Util._UseDb or tango.Util._FileDb:
        return f"tango://{own_address()}/{device}#dbase=no"
    database = tango.Util.instance().get_database()
    return f"tango://{database.get_db_host()}:{database.get_db_port()}/{device}"
