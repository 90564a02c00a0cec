"""Whether an exception got lost in C: raised in a callback that C code had called, which has kept it to itself."""

from __future__ import annotations

import opcode
import sys
from types import FrameType

_RERAISE, _RAISE = opcode.opmap["RERAISE"], opcode.opmap["RAISE_VARARGS"]
_SUSPENDABLE = 0x20 | 0x80 | 0x200  # inspect.CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR; main does without inspect


def is_lost(exception: BaseException) -> bool:
    """Say whether no Python code has got an exception that was raised, nor will; where that is not certain, it is not.

    To be asked later, in the thread in which it was raised.  A traceback names each frame that an exception has come
    to, whether it was handled there or not (until Python 3.11 an exception is given it by the first that handles it).
    So it was lost behind the outermost one, if that has ended by it: a frame that has got over one ends elsewhere.
    """
    traceback = exception.__traceback__
    if traceback is None:
        return sys.version_info < (3, 12)
    outermost = traceback.tb_frame
    if outermost.f_code.co_flags & _SUSPENDABLE or _is_running(outermost):
        return False
    return outermost.f_lasti == traceback.tb_lasti or _is_raising_on(outermost)


def _is_raising_on(frame: FrameType) -> bool:
    """Say whether the last instruction of a frame raises once more what was raised: behind `finally`, or `raise`."""
    code, last = frame.f_code.co_code, frame.f_lasti
    return code[last] == _RERAISE or (code[last], code[last + 1]) == (_RAISE, 0)


def is_being_handled(exception: BaseException) -> bool:
    """Say whether this thread is in a clause that an exception has led to: `except`, `finally`, the end of a `with`."""
    current = sys.exc_info()[1]
    while current is not None and current is not exception:
        current = current.__context__
    return current is not None


def _is_running(frame: FrameType) -> bool:
    current: FrameType | None = sys._getframe()
    while current is not None and current is not frame:
        current = current.f_back
    return current is not None
