"""What the main process costs: it lives as long as the server, and everything waits for its loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

MOST_MODULES = (
    166  # of all kinds, a file for each subject of ours among them; a bare interpreter has 33 with Python 3.11
)
# Its own memory, without the pages of files that others share; it has 11 MB with Python 3.11, a bare interpreter 3 MB.
# From one build of Python to another this differs by some percent; any of the libraries below takes several MB.
MOST_MEMORY = 12_500  # kB

NOT_FOR_MAIN = (
    *("git", "numpy", "pubsub", "pydantic", "setproctitle", "sqlalchemy", "tango"),
    *("asyncio", "hashlib", "multiprocessing", "pickle", "shutil", "ssl", "subprocess", "tempfile", "urllib.request"),
    *("ska_oet_device.procedure.application", "ska_oet_device.procedure.gitmanager", "ska_oet_device.procedure.worker"),
)

# The server as it is, but for the loop: where that would begin, it says what there is, and ends.
CODE = """
import sys
from ska_oet_device.main import main
from ska_oet_device.mptools import EventLoop

def tell(loop):
    modules = sorted(sys.modules)
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    import json, os
    memory = {name: int(status[name].split()[0]) for name in ("VmRSS", "RssAnon")}
    os.write(int(sys.argv[1]), json.dumps({"modules": modules, "memory": memory}).encode())

EventLoop.run = tell
main(["test"])
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a main process has loaded when its loop begins, and its memory in kB."""
    reader, writer = os.pipe()
    with open(reader) as answer:
        subprocess.run(
            [sys.executable, "-c", CODE, str(writer)],
            env={**os.environ, "STATE_DIRECTORY": "", "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))},
            stdout=subprocess.DEVNULL,
            pass_fds=(writer,),
            check=True,
            timeout=30,
        )
        os.close(writer)
        return json.load(answer)


def test_it_loads_few_modules(told):
    assert len(told["modules"]) <= MOST_MODULES, told["modules"]


@pytest.mark.parametrize("name", NOT_FOR_MAIN)
def test_it_does_without(told, name):
    assert name not in told["modules"]


def test_it_takes_little_memory(told):
    assert told["memory"]["RssAnon"] < MOST_MEMORY, told["memory"]
