"""The commands behind a dashboard's buttons: they take no argument, and act on what is selected."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tango.server import command

from ...errors import InvalidArgumentError, InvalidStateError
from ..application import PrepareProcessCommand, StartProcessCommand, StopProcessCommand
from ..history import LARGEST_NUMBER
from ..script import ProcedureInput
from ._boundary import Request
from ._requests import script_of_uri
from ._script_arguments import parse_script_arguments, selected_run
from ._serving import Serving


class OperatorCommands(Serving):
    """Commands without arguments, and the writing of what they act on."""

    # -- the buttons

    @command
    def PrepareSelected(self) -> None:
        """Prepare the script that is selected, with what scriptArguments has for its init."""
        with self._pressed("PrepareSelected") as request:
            asked, _ = self._selected_run()
            summary = self._service.prepare(asked, request.caller)
            request.answer(f"procedure {summary.id} of {summary.script.script_uri}")

    @command
    def RunSelected(self) -> None:
        """Run the script that is selected, with scriptArguments; refused while another one has the turn."""
        with self._pressed("RunSelected") as request:
            asked, main = self._selected_run()
            summary = self._service.run(asked, "main", main, request.caller, only_if_free=True)
            request.answer(f"procedure {summary.id} of {summary.script.script_uri}")

    @command
    def StartSelected(self) -> None:
        """Call main of the selected procedure, with what scriptArguments has for it; of the newest that is READY."""
        with self._pressed("StartSelected") as request:
            selection = self._service.selection
            uid = selection.process_uid
            request.concerns(uid)
            main = parse_script_arguments(selection.arguments).main
            summary = self._service.start(StartProcessCommand(uid or None, "main", main), request.caller)
            request.answer(f"procedure {summary.id} of {summary.script.script_uri}")

    @command
    def StopSelected(self) -> None:
        """Stop the selected procedure, else the active one, whatever it is doing; one that has ended is refused."""
        self._stop("StopSelected", self._service.selection.process_uid)

    @command
    def StopActive(self) -> None:
        """Stop the active procedure, whatever it is doing."""
        self._stop("StopActive", 0)

    # -- what is selected

    def write_selectedScript(self, uri: str) -> None:
        """Select a script; an empty text selects none."""
        with self._request("selectedScript", uri, audited=True) as request:
            script = script_of_uri(uri.strip()) if uri.strip() else None
            self._service.select_script(script, request.caller)
            self._host.pusher.refresh()

    def write_scriptArguments(self, text: str) -> None:
        """Select the arguments of what is run or started next."""
        with self._request("scriptArguments", text, audited=True) as request:
            parse_script_arguments(text)
            self._service.select_arguments(text.strip(), request.caller)
            self._host.pusher.refresh()

    def write_selectedProcedure(self, process_uid: int) -> None:
        """Select a procedure; 0 stands for the active one, whichever that is."""
        with self._request("selectedProcedure", int(process_uid), audited=True) as request:
            if not 0 <= process_uid <= LARGEST_NUMBER:
                raise InvalidArgumentError(f"selectedProcedure: {process_uid} is no id; 0 stands for the active one")
            request.concerns(int(process_uid))
            self._service.select_procedure(int(process_uid), request.caller)
            self._host.pusher.refresh()

    # -- their steps

    def _pressed(self, name: str) -> AbstractContextManager[Request]:
        return self._request(name, audited=True, via=name)

    def _stop(self, name: str, uid: int) -> None:
        with self._pressed(name) as request:
            request.concerns(uid)
            aborting = self._service.stop(StopProcessCommand(uid or None), request.caller, only_if_alive=True)
            self._host.pusher.refresh()  # Status says that it is being stopped
            followed = f", followed by procedure {aborting[0].id}" if aborting else ""
            request.answer(f"{f'procedure {uid}' if uid else 'the active procedure'}{followed}")

    def _selected_run(self) -> tuple[PrepareProcessCommand, ProcedureInput]:
        selection = self._service.selection  # once: somebody else may select another one meanwhile
        if not selection.script:
            raise InvalidStateError("no script is selected: choose one of availableScripts, for selectedScript")
        return selected_run(selection)
