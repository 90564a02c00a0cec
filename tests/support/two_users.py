"""A server that may not kill what is another user's, and processes of that user.

The server is root without the right to kill: so its interpreter need not be one that a user without rights can read.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from .processes import is_gone

WITHOUT_KILL = ["setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill"]
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
WITHOUT_OVERRIDE = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"]
SLEEP = [*AS_NOBODY, "sleep", "600"]


@pytest.fixture
def others() -> Iterator[list[int]]:
    """The processes of the other user that a test knows: none is left behind.  Skips where there can be none."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("NOT TESTED: only root, with setpriv, can make processes of two users")
    tried = subprocess.run([*WITHOUT_KILL, *AS_NOBODY, "sh", "-c", "kill -0 1"], capture_output=True, text=True)
    if tried.returncode != 1:
        pytest.skip(f"NOT TESTED: there is no second user here: {tried.stderr}")
    pids: list[int] = []
    yield pids
    for pid in pids:
        if not is_gone(pid):
            os.kill(pid, signal.SIGKILL)


def as_an_ordinary_owner(code: str, *arguments: object) -> str:
    """Have Python code executed that may do with files what their modes let their owner do; returns what it prints."""
    within = WITHOUT_OVERRIDE if os.geteuid() == 0 else []
    if within and subprocess.run([*within, "true"], capture_output=True).returncode != 0:
        pytest.skip("NOT TESTED: root cannot give up its right to read everything")
    command = [*within, sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
