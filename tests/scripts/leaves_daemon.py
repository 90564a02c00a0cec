"""Leaves a daemon behind: forked twice, in a session of its own, perhaps with nothing in its environment."""

import os
import time
from pathlib import Path

from _endings import end


def _daemon(path, empty_environment):
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    partial = Path(f"{path}.partial")
    partial.write_text(str(os.getpid()))
    partial.rename(path)
    if empty_environment:
        os.execve("/bin/sleep", ["a-daemon", "300"], {})
    time.sleep(300)
    os._exit(0)


def main(path, how, empty_environment=False):
    pid = os.fork()
    if pid == 0:
        _daemon(path, empty_environment)
    os.waitpid(pid, 0)
    while not os.path.exists(path):
        time.sleep(0.001)
    end(how)
