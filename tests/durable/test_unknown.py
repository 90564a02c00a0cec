"""A process that cannot be killed: what clients see of it, and what becomes of it when servers are started anew."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import tango
from support.durable import gapless
from support.tango_server import is_alive, program
from support.two_users import SLEEP, WITHOUT_KILL, others
from support.waiting import wait_until

__all__ = ["others"]

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

SCRIPT = f"""
import os
def main():
    os.execvp({SLEEP[0]!r}, {SLEEP!r})
"""


@pytest.fixture
def unknown(others, station, tmp_path):
    """A server with a procedure that is UNKNOWN; returns it, the procedure's id, and its process's."""
    folder = tmp_path / "roots"
    folder.mkdir()
    (folder / "becomes_another.py").write_text(SCRIPT)
    (folder / "quick.py").write_text("def main():\n    pass\n")
    made = station([*WITHOUT_KILL, program("OetDevice")], ScriptRoots=[folder], StopGracePeriod=0.2)
    uid = made.oet.run("becomes_another.py")
    made.wait_for(uid, "RUNNING")
    pid = made.oet.pid(uid)
    others.append(pid)
    wait_until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep"), 20, "it is the other user's")
    made.oet.stop(uid)
    made.oet.recorder.wait_for_state(uid, "UNKNOWN")  # behind the commit: main may be killed next
    return made, uid, pid


def states(made, uid) -> list[str]:
    return [event["state"] for event in made.events() if event["process_uid"] == uid]


def test_it_is_an_alarm_with_the_process_and_keeps_the_turn_until_it_has_gone(unknown):
    made, uid, pid = unknown
    alarm = (
        f"Procedure {uid} could not be killed and needs a person: the owner of process {pid}, or root, must kill it."
        " A restart of the whole server lets go of the turn, but does not end what is left."
    )
    wait_until(lambda: made.proxy.Status().startswith(alarm), 10, "Status says so")
    assert made.proxy.State() == tango.DevState.ALARM  # which is set before Status
    assert (made.oet.pid(uid), made.oet.summary(uid)["history"]["exit"]["survivors"]) == (pid, [pid])
    ready = made.oet.ready("quick.py")
    made.kill_device_server()
    assert made.proxy.Status().startswith(alarm)
    with pytest.raises(tango.DevFailed, match=f"procedure {uid} is UNKNOWN: process {pid} is alive"):
        made.oet.start(ready)
    assert json.loads(made.proxy.Stop(str(uid))) == []  # not refused
    os.kill(pid, signal.SIGTERM)
    summary = made.wait_for(uid, "STOPPED")
    assert f"process {pid} has gone, " in summary["history"]["exit"]["reason"]
    assert (summary["os_pid"], summary["history"]["exit"]["survivors"]) == (None, [])
    wait_until(lambda: f"Procedure {uid}" not in made.proxy.Status(), 10, "Status does not say so any more")
    assert made.proxy.State() == tango.DevState.ON
    made.oet.start(ready)
    made.wait_for(ready, "COMPLETE")
    assert states(made, uid)[-3:] == ["RUNNING", "UNKNOWN", "STOPPED"]
    assert gapless(made.events())


@pytest.mark.parametrize("killed", [False, True])
def test_a_restart_of_the_whole_server_lets_go_of_it(unknown, killed):
    made, uid, pid = unknown
    if killed:
        before = [process.pid for process in made.kill_main(wait=False) if process.pid != pid]
        wait_until(lambda: not any(map(is_alive, before)), 10, "all other processes are gone")
    else:
        made.server.process.send_signal(signal.SIGTERM)
        assert made.server.wait(30) == 0
    assert Path(f"/proc/{pid}").exists()
    made.start()
    reason = made.wait_for(uid, "FAILED")["history"]["exit"]["reason"]
    assert reason.startswith("server restarted while the procedure was UNKNOWN; ")
    assert states(made, uid)[-2:] == ["UNKNOWN", "FAILED"]
    assert made.proxy.State() == tango.DevState.ON
    later = made.oet.run("quick.py")
    made.wait_for(later, "COMPLETE")
    assert gapless(made.events())
