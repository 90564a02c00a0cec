"""The ways in which a script can come to its end."""

import ctypes
import os
import signal
import time


def end(how):
    """End this process, or the function that called, in the way that is named."""
    if how == "return":
        return
    if how == "raise":
        raise RuntimeError("this script was told to raise")
    if how == "os._exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "sleep":
        time.sleep(60)
    raise ValueError(f"no way to end is called {how}")
