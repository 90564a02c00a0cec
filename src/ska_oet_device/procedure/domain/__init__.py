"""What the device server knows of scripts: where they are and how they are launched; the specification's names."""

from ..gitmanager import GitArgs
from ..messages import LifecycleMessage
from ..script import (
    ExecutableScript,
    FileSystemScript,
    GitScript,
    ProcedureInput,
    script_from_data,
)
from ..state import FINAL, TERMINAL, TRANSITIONS, ProcedureState, may_follow
from ..worker import ModuleFactory, RunThreadState, ScriptWorker, script_signal_handler
from ._launch import check_of, find_script, load_of, locate_script, new_run_id
from ._listing import Listing, list_scripts, uri_of
from ._locate import check_syntax, locate
from ._manager import ProcessManager

__all__ = [
    "FINAL",
    "TERMINAL",
    "TRANSITIONS",
    "ExecutableScript",
    "FileSystemScript",
    "GitArgs",
    "GitScript",
    "LifecycleMessage",
    "Listing",
    "ModuleFactory",
    "ProcedureInput",
    "ProcedureState",
    "ProcessManager",
    "RunThreadState",
    "ScriptWorker",
    "check_of",
    "check_syntax",
    "find_script",
    "list_scripts",
    "load_of",
    "locate",
    "locate_script",
    "may_follow",
    "new_run_id",
    "script_from_data",
    "script_signal_handler",
    "uri_of",
]
