"""What a test leaves behind fails it by name, and what is not its own does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import leaks

_TESTS = """
import os, select, socket, subprocess, sys, threading
import pytest
from pubsub import pub
from support import leaks

leaks.PATIENCE = 0.2
kept = []
let_go = threading.Event()

def test_thread():
    kept.append(threading.Thread(target=let_go.wait, name="forgotten", daemon=True))
    kept[-1].start()

def test_listening():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_pair():
    kept.append(socket.socketpair())

def test_file():
    kept.append(open(__file__))

def test_pipe():
    kept.append(os.pipe())

def test_process():
    kept.append(subprocess.Popen(["sleep", "60"]))

def test_zombie():
    kept.append(subprocess.Popen(["true"]))
    os.waitid(os.P_PID, kept[-1].pid, os.WEXITED | os.WNOWAIT)

def test_listener():
    def hears(**data): ...
    kept.append(hears)
    pub.subscribe(hears, "some.topic")

@pytest.fixture
def leaky():
    yield
    kept.append(os.open("/dev/null", os.O_RDONLY))

def test_fixture(leaky): ...

@pytest.fixture(scope="module")
def lasting():
    kept.append(os.open("/dev/zero", os.O_RDONLY))
    kept.append(subprocess.Popen(["sleep", "60"]))
    kept.append(threading.Thread(target=let_go.wait, daemon=True))
    kept[-1].start()
    return 1

def test_nothing_but_a_fixture_of_the_module(lasting): ...

def test_nothing_but_what_is_asked_for_late(request):
    kept.append(request.getfixturevalue("late"))

@pytest.fixture(scope="session")
def late():
    return socket.create_server(("127.0.0.1", 0))

def test_nothing_but_what_is_about_to_end():
    leaks.PATIENCE = 20  # on a busy machine it ends later; the tests behind this one leave nothing either
    threading.Timer(0.05, lambda: None).start()

def test_nothing_but_what_a_cycle_holds():
    class Node: ...
    node = Node()
    node.itself, node.poll = node, select.epoll()

def test_nothing_at_all(): ...

def test_nothing_that_a_library_keeps():
    kept.append(socket.create_connection(kept[-1].getsockname()))  # of a server that is another test's

def test_end():
    let_go.set()
    for each in kept:
        if isinstance(each, subprocess.Popen):
            each.kill()
            each.wait()
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each of the tests above, by its name without `test_`."""
    file = tmp_path_factory.mktemp("leaks") / "test_that_leaks.py"
    file.write_text(_TESTS)
    path = os.pathsep.join([str(Path(leaks.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "support.leaks",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        file.parent,
    ]
    done = subprocess.run(
        [*command, str(file)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert re.search(r"16 passed, 9 errors", done.stdout), done.stdout + done.stderr
    return dict(re.findall(r"ERROR at teardown of test_(\w+) _+\n(left behind: .*)", done.stdout))


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "thread": "thread 'forgotten'",
        "listening": r"listening socket \d+ \('127.0.0.1', \d+\)",
        "pair": r"socket \d+, one of a pair, socket \d+, one of a pair",
        "file": r"descriptor \d+ \(.*/test_that_leaks.py\)",
        "pipe": r"descriptor \d+ \(pipe:\[(\d+)\]\), descriptor \d+ \(pipe:\[\1\]\)",
        "process": r"process \d+ \(sleep 60\)",
        "zombie": r"process \d+ \(\)",
        "listener": r"listener hears_\d+ at 0x\w+ of topic some.topic",
        "fixture": r"descriptor \d+ \(/dev/null\)",
    }.items(),
)
def test_it_is_said_by_whom_what_is_left(told, name, expected):
    assert re.fullmatch(f"left behind: {expected}", told[name])


def test_nobody_else_is_blamed(told):
    assert [name for name in told if name.startswith(("nothing", "end"))] == []


def test_a_look_costs_next_to_nothing():
    """There are two in each test; one takes some tenths of a millisecond."""
    spent = []
    for _ in range(20):
        began = time.perf_counter()
        leaks.Present.now()
        spent.append(time.perf_counter() - began)
    assert min(spent) < 0.005
