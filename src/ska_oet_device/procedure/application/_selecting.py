"""How operators select what commands without arguments act on; only what there is can be selected."""

from __future__ import annotations

from ...errors import ScriptNotFoundError, UnknownProcedureError, brief
from ..script import ExecutableScript
from ._audit import Audit
from ._model import Caller
from ._procedures import Procedures
from ._script_finder import ScriptFinder
from ._script_list import ScriptList
from ._selection import KeptSelection


class Selector:
    """Checks what is to be selected, keeps it, and who has selected it.  Any thread."""

    def __init__(
        self, kept: KeptSelection, listed: ScriptList, finder: ScriptFinder, procedures: Procedures, audit: Audit
    ) -> None:
        self._kept = kept
        self._listed = listed
        self._finder = finder
        self._procedures = procedures
        self._audit = audit

    def script(self, script: ExecutableScript | None, caller: Caller | None) -> None:
        """Select a script: see `ScriptExecutionService.select_script`."""
        uri = script.script_uri if script is not None else ""
        if script is not None and uri not in self._listed.uris:
            try:
                self._finder.locate(script)
            except ScriptNotFoundError as error:
                raise ScriptNotFoundError(f"{error}; choose one of availableScripts") from None
        self._kept.change(script=uri)
        self._audit.note("selectedScript", caller or Caller(), 0, f"accepted; set to {brief(uri) or 'none'}")

    def arguments(self, text: str, caller: Caller | None) -> None:
        """Select the arguments of what is run next, as JSON text that has been checked."""
        self._kept.change(arguments=text)
        self._audit.note("scriptArguments", caller or Caller(), 0, f"accepted; set to {brief(text) or 'none'}")

    def procedure(self, process_uid: int, caller: Caller | None) -> None:
        """Select a procedure: see `ScriptExecutionService.select_procedure`."""
        if process_uid and self._procedures.get(process_uid) is None:
            raise UnknownProcedureError(
                f"there is no procedure {process_uid} among those that live and the newest that have ended;"
                " 0 stands for the active one"
            )
        self._kept.change(process_uid=process_uid)
        self._audit.note("selectedProcedure", caller or Caller(), process_uid, f"accepted; set to {process_uid}")
