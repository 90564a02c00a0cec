"""What a worker does: load one script, call its functions, tell how it goes."""

from ._loader import ModuleFactory
from ._worker import RunThreadState, ScriptWorker, script_signal_handler

__all__ = ["ModuleFactory", "RunThreadState", "ScriptWorker", "script_signal_handler"]
