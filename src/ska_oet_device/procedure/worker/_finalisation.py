"""The end of a worker: what Python's own finalisation does, as far as that goes within a limit; then it is gone.

The order is that of Py_FinalizeEx and finalize_modules (Python/pylifecycle.c): threads, exit functions, standard
streams, the script's globals, all that nobody holds any more.  Py_FinalizeEx itself would go through all that the
template has imported, which takes hundreds of milliseconds, and has no limit.  See decision 25.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import io
import logging
import math
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any, NoReturn

from ...mptools import InterruptGate
from ..messages import CLEAN_UP_FAILED_STATUS, TERMINATED_STATUS
from ._exit_functions import let_go_of_process_pools, run_exit_functions
from ._helpers import HELPERS_PATIENCE, let_go_of_helpers

_log = logging.getLogger(__name__)

PATIENCE = 1.0  # seconds for dropping what the script holds, behind its threads and exit functions
_ALARMS_APART = 0.01  # seconds: behind a first one that came a moment too early
_LAST_PATIENCE = 0.5  # seconds for writing what stands in buffers, where that was not enough
_OURS = (__package__ or "").partition(".")[0]

EVENT_LOOP, THREADS, EXIT_FUNCTIONS, GLOBALS = "event loop", "threads", "exit functions", "globals"


class Finalisation:
    """The end of one worker process, in its steps.  Main thread of the worker.

    :param gate: a signal may interrupt threads and exit functions, and nothing behind them
    :ivar step: which step is being done, for the thread that tells it; "" before the first
    """

    def __init__(self, gate: InterruptGate) -> None:
        self._gate = gate
        self._known: frozenset[str] = frozenset()
        self._status = 0
        self._limit = math.inf  # by the monotonic clock
        self.step = ""

    def note_own(self) -> None:
        """Note what there is before the script comes: that is not looked through, nor dropped, at the end."""
        self._known = frozenset(sys.modules)
        gc.freeze()

    def run(
        self,
        status: int,
        hand_over: Callable[[], None],
        close_loop: Callable[[], None],
        forget: Callable[[], None],
    ) -> NoReturn:
        """Do what Python does when a program ends, and end.

        :param status: the exit status; not 0 where an exit function raises or a signal has interrupted one
        :param hand_over: puts the script's own handlers of signals into their places
        :param close_loop: ends what asyncio has left
        :param forget: has the worker let go of the script
        """
        self._status = status
        hand_over()
        self._interruptible(EVENT_LOOP, close_loop)
        self._interruptible(THREADS, self._wait_for_threads)
        self._interruptible(EXIT_FUNCTIONS, self._run_exit_functions)
        self.step = GLOBALS
        try:
            self._set_limit(PATIENCE, self._give_up)
            _flush_standard_streams()
            forget()
            self._drop()
            _flush_standard_streams()
            _flush_c_files()
            self._set_limit(2 * HELPERS_PATIENCE, self._exit)
            let_go_of_helpers()
        except BaseException:  # top of a process: whatever the script has left there
            _log.exception("the end of the script")
        self._exit()

    def _interruptible(self, step: str, do: Callable[[], Any]) -> None:
        """Do a step that runs code of the user for as long as that takes; a signal ends it."""
        self.step = step
        raised_before = self._gate.raised
        try:
            with self._gate.open():
                do()
        except BaseException:  # an exit function has said what it raised, or a signal says: now
            self._status = self._status or 1
        if self._gate.raised and not raised_before:  # threading may keep what ended the waiting to itself
            self._status = self._status or TERMINATED_STATUS

    def _wait_for_threads(self) -> None:
        """Wait for the threads that are not daemons, unless the script was told to stop: somebody waits for the end."""
        if self._gate.raised:
            let_go_of_process_pools()
        else:
            threading._shutdown()  # type: ignore[attr-defined]

    def _run_exit_functions(self) -> None:
        if run_exit_functions() and self._status == TERMINATED_STATUS:
            self._status = CLEAN_UP_FAILED_STATUS

    # -- what the script holds

    def _drop(self) -> None:
        """Drop what the script's modules hold, as Python does: first what nobody else holds, then by name.

        Then whatever else is open is written, which Python does not do for the frame of a daemon thread, say.

        Open files are held meanwhile: the collector may close a file before the buffer that belongs to it, which is
        lost then, and what is finalised may write to it.
        """
        streams = _open_streams()
        _flush(streams)
        threading.excepthook = lambda *_: None  # Python has daemon threads stand still by now
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            vars(sys).pop(name, None)
        gc.collect()  # puts what holds before what is held: in that order it is finalised next, as in Python's own end
        taken = self._take_modules()
        gc.collect()
        for names in _still_held(taken):
            _clear(names)
        _flush(streams)

    def _take_modules(self) -> list[_Taken]:
        """Take the script's own modules out of sys.modules, so that nobody holds them by their names."""
        names = [name for name in list(sys.modules) if name not in self._known]
        return [_Taken(sys.modules.pop(name)) for name in names if _is_the_scripts(name, sys.modules[name])]

    # -- the limit

    def _set_limit(self, seconds: float, at_the_end: Callable[[], None]) -> None:
        """Have something called when so many seconds are over: by SIGALRM, whose timer may be the script's until now.

        An alarm of the script's that is on its way comes to our handler, too early.
        """
        signal.setitimer(signal.ITIMER_REAL, 0)
        limit = self._limit = time.monotonic() + seconds
        with contextlib.suppress(BaseException):  # what the script's own handler raises, which is called first
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, lambda *_: at_the_end() if time.monotonic() >= limit else None)
        signal.setitimer(signal.ITIMER_REAL, seconds, _ALARMS_APART)

    def end_if_late(self) -> None:
        """End now if the limit is over, and the main thread does not see to it.  Any thread."""
        if time.monotonic() > self._limit:
            self._exit()

    def _give_up(self) -> None:
        """Write at least what stands in buffers.  Signal handler."""
        self._set_limit(_LAST_PATIENCE, self._exit)
        with contextlib.suppress(BaseException):
            _log.warning("what the script held could not be dropped within %g s: it is left as it is", PATIENCE)
        _flush(_open_streams())
        _flush_standard_streams()
        self._exit()

    def _exit(self) -> NoReturn:
        os._exit(self._status)


def prepare() -> None:
    """Do in the template what each worker would do at its end."""
    installed_folders()
    _c_library()


@functools.cache
def _c_library() -> Any:
    return ctypes.CDLL(None)


@functools.cache
def installed_folders() -> tuple[str, ...]:
    """Return the folders that hold what is installed: Python's own library, and packages."""
    import sysconfig  # main loads this module, too, and needs none of it

    return tuple(
        {os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    )


def _is_the_scripts(name: str, module: object) -> bool:
    """Tell whether a module came with the script, and is neither installed nor of this program."""
    if not isinstance(module, ModuleType) or str(name).partition(".")[0] == _OURS:
        return False
    file = vars(module).get("__file__")
    return isinstance(file, str) and not file.startswith(installed_folders())


class _Taken:
    """A module that was taken out of sys.modules; nothing of it is held."""

    def __init__(self, module: ModuleType) -> None:
        self._module = weakref.ref(module)
        self._place = id(vars(module))
        self._file = vars(module)["__file__"]

    def names_in(self, dicts: dict[int, dict[Any, Any]], used: set[int]) -> dict[Any, Any] | None:
        """Return the module's globals if somebody holds them.

        :param used: where the globals of functions are that run now; their threads are not to go on with nothing
        """
        names = dicts.get(self._place)
        if names is None or names.get("__file__") is not self._file:
            return None
        return names if self._module() is not None or self._place not in used else None


def _still_held(taken: list[_Taken]) -> list[dict[Any, Any]]:
    """Return the globals that are left of the modules that were taken, those of the newest first.

    Whoever holds a function holds them, and no module: a handler of a signal, a hook of `sys`, another module that has
    it in the place of its own.  Python drops these, too.
    """
    dicts = {id(each): each for each in gc.get_objects() if type(each) is dict}
    used = {id(frame.f_globals) for frame in _running_frames()}
    return [names for each in reversed(taken) if (names := each.names_in(dicts, used)) is not None]


def _running_frames() -> Iterator[FrameType]:
    for innermost in sys._current_frames().values():
        frame: FrameType | None = innermost
        while frame is not None:
            yield frame
            frame = frame.f_back


def _clear(names: dict[Any, Any]) -> None:
    """Drop globals that somebody holds: those with one underscore first, as Python does."""
    for private in (True, False):
        for name in list(names):
            is_private = isinstance(name, str) and name.startswith("_") and not name.startswith("__")
            if is_private is private and name != "__builtins__":
                names[name] = None


def _open_streams() -> list[Any]:
    """Return the open files that have a buffer, those whose buffer is another one's first.

    The template's own are not among them: the collector does not know these (gc.freeze).
    """
    kinds = io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom
    streams = [each for each in gc.get_objects() if type(each) in kinds]
    streams.sort(key=lambda stream: type(stream) is not io.TextIOWrapper)
    return streams


def _flush(streams: list[Any]) -> None:
    for stream in streams:
        with contextlib.suppress(BaseException):
            if not stream.closed:
                stream.flush()


def _flush_c_files() -> None:
    """Write what stands in the buffers of C's own files and of HDF5's, as exit(3) does."""
    with contextlib.suppress(BaseException):
        _c_library().fflush(None)
    hdf5 = sys.modules.get("h5py.h5f")
    if hdf5 is not None:
        with contextlib.suppress(BaseException):
            for file in hdf5.get_obj_ids(hdf5.OBJ_ALL, hdf5.OBJ_FILE):
                hdf5.flush(file)


def _flush_standard_streams() -> None:
    for name in ("stdout", "stderr"):
        with contextlib.suppress(BaseException):  # whatever the script has made of them
            getattr(sys, name).flush()
