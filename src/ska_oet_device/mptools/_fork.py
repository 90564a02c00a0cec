"""Forking a sibling: a process whose parent is our own parent (clone(2), CLONE_PARENT).

The template forks this way, so that each worker is a child of main at once.  The C library has no
function for it.  Beside the system call itself its fork() does two things that matter to a
process with one thread: it has the kernel write the new thread id to where the library keeps it,
as is done here, and it calls the handlers of pthread_atfork(3), which libraries with threads of
their own need, and the template has none.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import signal
import struct

_CLONE_PARENT = 0x00008000
_CLONE_CHILD_CLEARTID = 0x00200000
_CLONE_CHILD_SETTID = 0x01000000
_FLAGS = _CLONE_PARENT | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID | signal.SIGCHLD
_PR_GET_TID_ADDRESS = 40

# The number of clone(2), and at which place it takes the address of the child's thread id.
_CALLS = {"x86_64": (56, 3), "aarch64": (220, 4)}


@functools.cache
def _tid_address() -> int | None:
    """Return where the C library keeps the id of this thread; None if the kernel does not tell (prctl(2))."""
    address = ctypes.c_void_p()
    if ctypes.CDLL(None).prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0) != 0 or not address.value:
        return None
    if ctypes.c_int.from_address(address.value).value != os.getpid():  # no C library that we know
        return None
    return address.value


def can_fork_sibling() -> bool:
    """Say whether `fork_sibling` works on this machine.  For the main thread of a process with one thread."""
    return platform.machine() in _CALLS and struct.calcsize("P") == 8 and _tid_address() is not None


def fork_sibling() -> int:
    """Fork; the child's parent is ours.  Returns 0 in the child, the child's id otherwise.

    For a process with one thread only, where `can_fork_sibling` is true.

    :raises OSError: the kernel refuses
    """
    number, place = _CALLS[platform.machine()]
    arguments = [ctypes.c_long(_FLAGS), *(ctypes.c_long(0) for _ in range(4))]
    arguments[place] = ctypes.c_long(_tid_address() or 0)
    system = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock, as os.fork does
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(system.syscall(ctypes.c_long(number), *arguments))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    error = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, os.strerror(error))
    return pid
