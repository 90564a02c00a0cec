"""What an observing script may import.  It need not: a script is any Python file with a `main`.

``topics`` holds the topics of this program, for ``pub.subscribe(listener, topic)`` of pypubsub.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import reprlib
from typing import NoReturn

from .event import is_relayed, publish_from_script, topics
from .this_run import RUN_ID_VARIABLE, ThisRun

__all__ = ["ThisRun", "report_progress", "stop", "this_run", "topics"]

_log = logging.getLogger(__name__)

_LONGEST_REASON = 300  # characters
_LONGEST_ACTIVITY = 1000  # characters; the device shows no more


def this_run() -> ThisRun:
    """Return the procedure that this process belongs to: its id and run id, its device and the device's subarray.

    It is read from the environment, so that it works in whatever thread, in forked and spawned children of a script,
    and in programs that it starts and hands its environment on to.  Where no device is executing the script, in a test
    or in a shell, the variables SKA_OET_PROCESS_UID, SKA_OET_RUN_ID, SKA_OET_DEVICE and SKA_OET_SUBARRAY_ID make one.

    :raises RuntimeError: the environment does not say
    """
    return ThisRun.of()


class ScriptStopped(SystemExit):
    """The script ends itself; see `stop`.  In a shell Python prints the reason, and exits with 1.

    :ivar reason: why, in one line
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = " ".join(reason.split())[:_LONGEST_REASON]


def stop(reason: str) -> NoReturn:
    """End the procedure as STOPPED: the script has found out that it should not go on, and nothing has gone wrong.

    To be called in the thread that runs the script's functions, in any of them.  Raises an exception that `except
    Exception` lets pass, so `finally` blocks run.  No abort script follows: nobody has asked for a stop.

    :param reason: why, in a few words, such as ``clouds``; 300 characters are told
    :raises TypeError: reason is no text
    :raises ValueError: reason is empty
    """
    if not isinstance(reason, str):
        raise TypeError(f"reason must be text, not {type(reason).__name__}")
    if not reason.strip():
        raise ValueError("reason must say why the script ends itself")
    raise ScriptStopped(reason)


def report_progress(percent: float, activity: str = "") -> None:
    """Tell the device, and so every client, how far the script has come.

    Clients see it in the attributes activeProgress and activeActivity.  Returns at once.  Where
    no device is executing the script, in a test or in a shell, nobody is told; nor from a process of a script that has
    an interpreter of its own, which is said once.

    :param percent: from 0 to 100
    :param activity: what the script is doing, in a few words; 1,000 characters are told
    :raises TypeError: activity is no text
    :raises ValueError: percent is no number from 0 to 100
    """
    try:
        number = float(percent)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0.0 <= number <= 100.0:  # NaN lies nowhere
        raise ValueError(f"percent is {reprlib.repr(percent)}; it must be a number from 0 to 100")
    if not isinstance(activity, str):  # the text of some objects takes for ever
        raise TypeError(f"activity must be text, not {type(activity).__name__}")
    if not is_relayed():
        _warn_once()
    publish_from_script(topics.script.progress, percent=number, activity=activity[:_LONGEST_ACTIVITY])


@functools.cache
def _warn_once() -> None:
    """Say that nobody hears what a process of a script says that has an interpreter of its own."""
    if RUN_ID_VARIABLE in os.environ:  # nothing but scripts has it, and what they start
        _log.warning("progress of process %d is told to nobody: the script has not forked it", os.getpid())
