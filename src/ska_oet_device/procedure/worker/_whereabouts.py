"""What a worker waits for, in words: which thread is where.  Any thread of a worker; nothing of the script is called.

Told on main's request, while a process goes on that should have ended.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..messages import LONGEST_DELAY
from . import _finalisation as finalisation

_MOST_THREADS = 3  # named
_LONGEST_TITLE = 60  # characters of a thread's or a function's name
_OUR_FOLDER = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_WAITING = ("threading.py", "queue.py", "thread.py", "_base.py", "process.py")  # of Python's library


def whereabouts(step: str) -> str:
    """Return where the process is, as the end of a sentence: ``waiting for thread 't' in f (follow.py line 5)``.

    :param step: of its finalisation; "" while a function of the script runs
    """
    try:
        return _whereabouts(step)[:LONGEST_DELAY]
    except Exception:  # whatever the script has made of its threads
        return "at a place that cannot be named"


def _whereabouts(step: str) -> str:
    frames = sys._current_frames()
    main = frames.get(threading.main_thread().ident or 0)
    here, threads = _place(main), list(_threads(frames))
    if step == finalisation.THREADS and threads:
        return f"waiting for {_list(threads)}"
    if step == finalisation.EXIT_FUNCTIONS:
        return f"in exit function {here}" if here else "in its exit functions"
    if step in (finalisation.EVENT_LOOP, finalisation.GLOBALS):
        return f"clearing its {step} away{f', in {here}' if here else ''}"
    if threads and _is_waiting(main):
        return f"waiting for {_list(threads)}{f', in {here}' if here else ''}"
    return f"in {here}" if here else "at a place that cannot be named"


def _list(threads: list[str]) -> str:
    more = f" and {len(threads) - _MOST_THREADS} more" if len(threads) > _MOST_THREADS else ""
    return f"{', '.join(threads[:_MOST_THREADS])}{more}"


def _threads(frames: dict[int, FrameType]) -> Iterator[str]:
    """Yield the script's own threads, those that are daemons excepted."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            place = _place(frames.get(thread.ident or 0))
            yield f"thread {_short(thread.name)!r}{f' in {place}' if place else ''}"


def _is_waiting(frame: FrameType | None) -> bool:
    """Tell whether a thread waits for another one, or a process, by means of Python's library."""
    return frame is not None and os.path.basename(frame.f_code.co_filename) in _WAITING


def _place(frame: FrameType | None) -> str:
    """Return where a thread is: the innermost function that is the user's, and what of Python's it has called."""
    inner, innermost = None, frame
    while frame is not None and _is_pythons(frame.f_code.co_filename):
        inner, frame = frame, frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(_OUR_FOLDER):
        return _given_to(innermost)
    code = frame.f_code
    called = f"{_short(inner.f_code.co_name)} called by " if inner is not None else ""
    return f"{called}{_short(code.co_name)} ({os.path.basename(code.co_filename)} line {frame.f_lineno})"


def _given_to(frame: FrameType | None) -> str:
    """Return what Python's own threads were given to call, where that is no Python code itself: time.sleep, say."""
    while frame is not None:
        if frame.f_code.co_name == "run" and _is_pythons(frame.f_code.co_filename):
            held: dict[str, Any] = vars(frame.f_locals.get("self"))
            function = held.get("fn") or held.get("_target")
            if function is not None:
                return _short(getattr(function, "__name__", ""))
        frame = frame.f_back
    return ""


def _is_pythons(file: str) -> bool:
    return file.startswith(("<frozen", *finalisation.installed_folders()))


def _short(name: object) -> str:
    return name[:_LONGEST_TITLE] if isinstance(name, str) else ""
