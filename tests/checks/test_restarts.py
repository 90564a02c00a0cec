"""What becomes of checks when a process of the server ends."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import tango
from support.checks import asked, checked, report_of
from support.tango_server import SCRIPTS, Database, Oet, Server, is_alive, reason_of
from support.waiting import wait_until

BIND = ["-ORBendPoint", "giop:tcp:127.0.0.1:0"]

# Says who it and its daemon are, and never returns from its import.
HANGS = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    open({path!r} + ".aside", "w").write(f"{{os.getpid()}}")
    os.rename({path!r} + ".aside", {path!r})
time.sleep(300)

def main():
    pass
"""


@pytest.fixture
def own(database: Database, tmp_path: Path) -> Iterator[Callable[[str], Oet]]:
    """Start a server for one test."""
    started: list[tuple[Server, Oet]] = []

    def start(instance: str) -> Oet:
        name = f"mid-oet/checks/{instance}"
        database.add_server(instance, {name: {"ScriptRoots": [SCRIPTS, tmp_path], "LoadTimeout": 60}})
        server = Server([instance, *BIND], tmp_path / instance, database.host)
        started.append((server, Oet(database, name, server)))
        return started[-1][1]

    yield start
    for server, oet in started:
        oet.close()
        server.clean_up()


def under_way(oet: Oet, folder: Path, name: str) -> tuple[int, list[int]]:
    """Begin a check that does not end by itself; returns its id, and the processes that are its."""
    path = folder / f"{name}.pid"
    (folder / f"{name}.py").write_text(HANGS.format(path=str(path)))
    check_id = asked(oet, f"{name}.py")
    wait_until(path.exists, 20, "its import has begun")
    return check_id, [int(path.read_text()), *(process.pid for process in oet.server.workers())]


@pytest.mark.long
def test_checks_end_with_the_device_server_that_was_asked_for_them_and_with_the_server(own, tmp_path):
    oet = own("check-crash")
    check_id, pids = under_way(oet, tmp_path, "first")
    asked(oet, "good.py")
    assert len(pids) >= 2
    victim = oet.server.device_server()
    os.kill(victim.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), 20, "nothing of the check is left")
    wait_until(lambda: oet.server.device_server().pid != victim.pid, 20, "another device server")
    oet.reconnect()
    with pytest.raises(tango.DevFailed) as caught:
        oet.proxy.CheckReport(check_id)
    reason, description = reason_of(caught.value)
    assert reason == "OET_UnknownCheck"
    assert "an earlier device server took it along" in description
    later = checked(oet, "good.py")
    assert later["ok"]
    assert later["check_id"] > check_id
    assert list(oet.proxy.procedureIds) == []
    assert oet.proxy.lifecycleSequence == 0
    _, pids = under_way(oet, tmp_path, "second")
    assert oet.server.stop() == 0  # and nothing of it is left
    assert not any(map(is_alive, pids))


@pytest.mark.long
def test_a_template_that_is_killed_is_replaced_and_what_was_under_way_goes_on(own, tmp_path):
    oet = own("check-template")
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(1)\ndef main():\n    pass\n")
    assert checked(oet, "good.py")["ok"]
    ids = [asked(oet, "slow.py") for _ in range(3)]
    wait_until(oet.server.workers, 10, "an import has begun")
    for process in oet.server.tree():
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker may end by itself meanwhile
            if "oet-template" in " ".join(process.cmdline()):
                process.kill()
    assert [report_of(oet, check_id)["ok"] for check_id in ids] == [True] * 3


@pytest.mark.long
def test_nothing_of_a_check_survives_main(own, tmp_path):
    oet = own("check-main")
    _, pids = under_way(oet, tmp_path, "third")
    everything = oet.server.tree()
    os.kill(oet.server.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), 20, "nothing of the check is left")
    assert oet.server.wait() == -signal.SIGKILL
    wait_until(lambda: not oet.server.leftovers(everything), 20, "everything is gone")
