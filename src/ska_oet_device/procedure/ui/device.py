"""The Tango device: parses, asks the service, answers.  The contract says what clients see."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import tango
from tango.server import command

from . import _schemas as schemas
from ._answers import check_data, environment_data, event_data, page_data, request_data
from ._attributes import DeviceAttributes
from ._devstring import to_json
from ._host import Runtime
from ._operator_commands import OperatorCommands
from ._pages import first_of_list, whole_list
from ._properties import DeviceProperties
from ._requests import (
    parse_check,
    parse_history,
    parse_output,
    parse_prepare,
    parse_requests,
    parse_run,
    parse_start,
    parse_stop,
)
from ._ska_commands import SkaCommands
from ._start_check import own_address
from ._summaries import summaries_json, summary_json
from ._tango_logs import TangoLogs


class OetDevice(OperatorCommands, SkaCommands, DeviceAttributes, DeviceProperties):
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
        host = self.runtime.host(self.get_name(), functools.partial(_uri_of, self.get_name()))
        self._host = host
        self._service = host.service
        self.view = host.live
        self.memory = host.memory
        self.write_what_was_kept()
        self.show_what_holds()
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

    # -- commands

    @command(
        dtype_in=str,
        doc_in="PrepareProcessCommand as JSON, or a bare script URI",
        dtype_out=str,
        doc_out="ProcedureSummary as JSON",
    )
    def Prepare(self, argument: str) -> str:
        """Load a script in a process of its own, and call its init; progress arrives as events."""
        with self._request("Prepare", argument, audited=True) as request:
            asked = request.parse(parse_prepare)
            return request.answer(summary_json(self._service.prepare(asked, request.caller)))

    @command(
        dtype_in=str,
        doc_in="StartProcessCommand as JSON, a bare procedure id, or nothing: the newest that is READY",
        dtype_out=str,
        doc_out="ProcedureSummary as JSON",
    )
    def Start(self, argument: str) -> str:
        """Call a function of a prepared script."""
        with self._request("Start", argument, audited=True) as request:
            asked = request.parse(parse_start)
            return request.answer(summary_json(self._service.start(asked, request.caller)))

    @command(
        dtype_in=str,
        doc_in="StopProcessCommand as JSON, a bare procedure id, or nothing: the active one",
        dtype_out=str,
        doc_out="JSON list of ProcedureSummary: the abort script's, if one was started",
    )
    def Stop(self, argument: str) -> str:
        """End a procedure, whatever it is doing; never refused while its process lives."""
        with self._request("Stop", argument, audited=True) as request:
            asked = request.parse(parse_stop)
            aborting = summaries_json(self._service.stop(asked, request.caller))
            self._host.pusher.refresh()  # Status says that it is being stopped
            return request.answer(aborting)

    @command(
        dtype_in=str,
        doc_in="Prepare's JSON plus fn_name and run_args, or a bare script URI",
        dtype_out=str,
        doc_out="ProcedureSummary as JSON",
    )
    def Run(self, argument: str) -> str:
        """Prepare a script, and start it as soon as it is READY."""
        with self._request("Run", argument, audited=True) as request:
            asked = request.parse(parse_run)
            summary = self._service.run(asked.prepare, asked.fn_name, asked.run_args, request.caller)
            return request.answer(summary_json(summary))

    @command(
        dtype_in=str,
        doc_in="Prepare's JSON, if need be with fn_name and run_args, or a bare script URI",
        dtype_out=str,
        doc_out="JSON: check_id",
    )
    def Check(self, argument: str) -> str:
        """Load a script in a process of its own, call nothing of it, and report; the report arrives as an event."""
        with self._request("Check", argument, audited=True) as request:
            asked = request.parse(parse_check)
            return request.answer(to_json({"check_id": self._service.check(asked, request.caller)}))

    @command(dtype_in=tango.DevLong64, doc_in="Id of a check", dtype_out=str, doc_out="The report of a check as JSON")
    def CheckReport(self, check_id: int) -> str:
        """Return the report of a check, or that it is not complete yet."""
        with self._request("CheckReport", check_id) as request:
            report = self._service.check_report(int(check_id))
            unknown = {"check_id": int(check_id), "complete": False}
            return request.answer(to_json(check_data(report) if report is not None else unknown))

    @command(
        dtype_in=tango.DevVarLong64Array,
        doc_in="Procedure ids; empty for all in the attributes",
        dtype_out=str,
        doc_out="JSON list of ProcedureSummary",
    )
    def Summarise(self, ids: Any) -> str:
        """Return what is known of procedures."""
        with self._request("Summarise", ids) as request:
            if ids is None or not len(ids):
                current = self._service.summarise()
                self._host.summaries.keep(current)
                return request.answer(whole_list(map(self._host.summaries.text, current)))
            return request.answer(whole_list(map(summary_json, self._service.summarise(map(int, ids)))))

    @command(
        dtype_in=str,
        doc_in="JSON: since, until, script, state, user, text, run_id, before and limit; or nothing: the newest 100",
        dtype_out=str,
        doc_out="JSON list of ProcedureSummary, newest first, of procedures that live or have lived",
    )
    def History(self, argument: str) -> str:
        """Look for procedures, those of long ago, too."""
        with self._request("History", argument) as request:
            asked = request.parse(parse_history)
            return request.answer(first_of_list(self._service.find(asked), summary_json))

    @command(
        dtype_in=tango.DevLong64,
        doc_in="A sequence number; 0 for all",
        dtype_out=str,
        doc_out="JSON list of the later lifecycle events, oldest first, at most 1,000",
    )
    def LifecycleEvents(self, sequence: int) -> str:
        """Return the lifecycle events that a client has missed."""
        with self._request("LifecycleEvents", sequence) as request:
            events = self._service.lifecycle_events(int(sequence))
            return request.answer(first_of_list(events, lambda event: to_json(event_data(event))))

    @command(
        dtype_in=tango.DevLong64,
        doc_in="A sequence number; 0 for all that are kept",
        dtype_out=str,
        doc_out="JSON list of the later messages of scripts, oldest first, at most 1,000",
    )
    def ScriptEvents(self, sequence: int) -> str:
        """Return the messages of scripts that a client has missed, as far as they are kept."""
        with self._request("ScriptEvents", sequence) as request:
            return request.answer(self._host.pusher.messages.after(int(sequence)))

    @command(
        dtype_in=str,
        doc_in="JSON: process_uid, offset and limit in bytes; or a bare procedure id",
        dtype_out=str,
        doc_out="JSON: text, offset, next_offset, complete",
    )
    def Output(self, argument: str) -> str:
        """Return a page of what a script and its children have printed."""
        with self._request("Output", argument) as request:
            asked = request.parse(parse_output)
            page = self._service.read_output(asked.process_uid, asked.offset, asked.limit)
            return request.answer(to_json(page_data(page)))

    @command(
        dtype_in=str,
        doc_in="JSON: before (a request's number; 0: from the newest) and limit; or nothing",
        dtype_out=str,
        doc_out="JSON list of requests, newest first: who asked what, when, and with which answer",
    )
    def Requests(self, argument: str) -> str:
        """Return who asked for what."""
        with self._request("Requests", argument) as request:
            asked = request.parse(parse_requests)
            found = self._service.requests(asked.before, asked.limit)
            return request.answer(first_of_list(found, lambda item: to_json(request_data(item))))

    @command(dtype_out=str, doc_out="JSON list: env_id, state, size, created, last_used, in_use, description, log …")
    def Environments(self) -> str:
        """Return what is known of the environments of scripts, the least recently used first."""
        with self._request("Environments") as request:
            return request.answer(to_json([environment_data(info) for info in self._service.environments()]))

    @command(
        dtype_out=str, doc_out="JSON Schemas of all that is JSON, by <Command>.argument, <Command>.answer, <attribute>"
    )
    def Schemas(self) -> str:
        """Return the JSON Schemas of arguments, answers, attributes and events."""
        with self._request("Schemas") as request:
            return request.answer(schemas.written())

    @command(dtype_in=str, doc_in="Id of an environment")
    def RemoveEnvironment(self, env_id: str) -> None:
        """Remove an environment; refused while it is in use."""
        with self._request("RemoveEnvironment", env_id, audited=True) as request:
            self._service.remove_environment(env_id.strip(), request.caller)

    @command
    def OverrideWaitForQaReady(self) -> None:
        """Tell the scripts that wait for quality assurance to go on, this once."""
        with self._request("OverrideWaitForQaReady") as request:
            self._service.audit("OverrideWaitForQaReady", request.caller, 0, "accepted")
            self._service.override_wait_for_qa_ready(self.get_name())

    # -- the attribute that can be written; all are declared, and read, by the table of `_attributes`

    def write_waitForQaReady(self, enabled: bool) -> None:
        """Set whether scripts wait until quality assurance is ready."""
        with self._request("waitForQaReady", bool(enabled)) as request:
            self._service.audit("waitForQaReady", request.caller, 0, f"accepted; set to {bool(enabled)}")
            self._service.set_wait_for_qa_ready(bool(enabled), self.get_name())
            # Main may hear a script first, which has a pipe of its own, and call what was asked for ahead of time.
            self._host.link.wait_for_main()


def _uri_of(device: str) -> str:
    """Return the name by which clients find a device; without a database it holds this server's own address."""
    if not tango.Util._UseDb or tango.Util._FileDb:
        return f"tango://{own_address()}/{device}#dbase=no"
    database = tango.Util.instance().get_database()
    return f"tango://{database.get_db_host()}:{database.get_db_port()}/{device}"
