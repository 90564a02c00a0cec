"""The application layer: the use cases of script execution, and what they take and return."""

from ..domain import find_script
from ._finder import Finder, NoAnswerError, place_of
from ._model import (
    Active,
    ArgCapture,
    Caller,
    Change,
    CheckCommand,
    CheckReport,
    CheckStep,
    Failure,
    Notices,
    PrepareProcessCommand,
    ProcedureHistory,
    ProcedureSummary,
    Progress,
    RequestRecord,
    ScriptContext,
    Snapshot,
    StartProcessCommand,
    StopProcessCommand,
)
from ._past import HistoryQuery
from ._script_list import MOST_SCRIPTS
from ._selection import Selection
from ._service import ScriptExecutionService

__all__ = [
    "MOST_SCRIPTS",
    "Active",
    "ArgCapture",
    "Caller",
    "Change",
    "CheckCommand",
    "CheckReport",
    "CheckStep",
    "Failure",
    "Finder",
    "HistoryQuery",
    "NoAnswerError",
    "Notices",
    "PrepareProcessCommand",
    "ProcedureHistory",
    "ProcedureSummary",
    "Progress",
    "RequestRecord",
    "ScriptContext",
    "ScriptExecutionService",
    "Selection",
    "Snapshot",
    "StartProcessCommand",
    "StopProcessCommand",
    "find_script",
    "place_of",
]
