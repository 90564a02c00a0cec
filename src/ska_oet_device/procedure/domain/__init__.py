"""Domain entities of script execution: scripts, states, workers, and who supervises them."""

from ..gitmanager import GitArgs
from ._loader import ModuleFactory
from ._locate import check_syntax, locate
from ._manager import ProcessManager
from ._messages import LifecycleMessage
from ._script import (
    ExecutableScript,
    FileSystemScript,
    GitScript,
    ProcedureInput,
    script_from_data,
)
from ._state import TERMINAL, TRANSITIONS, ProcedureState, may_follow
from ._worker import RunThreadState, ScriptWorker, script_signal_handler

__all__ = [
    "TERMINAL",
    "TRANSITIONS",
    "ExecutableScript",
    "FileSystemScript",
    "GitArgs",
    "GitScript",
    "LifecycleMessage",
    "ModuleFactory",
    "ProcedureInput",
    "ProcedureState",
    "ProcessManager",
    "RunThreadState",
    "ScriptWorker",
    "check_syntax",
    "locate",
    "may_follow",
    "script_from_data",
    "script_signal_handler",
]
