"""The application layer: the use cases of script execution, and what they take and return."""

from ..domain import find_script
from ._admin import AdminMode
from ._finder import Finder, NoAnswerError, place_of
from ._lrc import (
    ABORT,
    MOST_FINISHED,
    MOST_UNFINISHED,
    PREPARE,
    RUN,
    START,
    CommandUpdate,
    LongRunningCommand,
    LongRunningCommands,
    ResultCode,
    TaskStatus,
)
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
from ._procedures import sentence_on_abort
from ._script_list import MOST_SCRIPTS
from ._selection import Selection
from ._service import ScriptExecutionService

__all__ = [
    "ABORT",
    "MOST_FINISHED",
    "MOST_SCRIPTS",
    "MOST_UNFINISHED",
    "PREPARE",
    "RUN",
    "START",
    "Active",
    "AdminMode",
    "ArgCapture",
    "Caller",
    "Change",
    "CheckCommand",
    "CheckReport",
    "CheckStep",
    "CommandUpdate",
    "Failure",
    "Finder",
    "HistoryQuery",
    "LongRunningCommand",
    "LongRunningCommands",
    "NoAnswerError",
    "Notices",
    "PrepareProcessCommand",
    "ProcedureHistory",
    "ProcedureSummary",
    "Progress",
    "RequestRecord",
    "ResultCode",
    "ScriptContext",
    "ScriptExecutionService",
    "Selection",
    "Snapshot",
    "StartProcessCommand",
    "StopProcessCommand",
    "TaskStatus",
    "find_script",
    "place_of",
    "sentence_on_abort",
]
