"""The magics in a real itango, and in IPython, in a terminal: Tab, progress in place, Ctrl-C, and the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tango
from support.waiting import wait_until

from ska_oet_device.client._stack import Stack

from .conftest import Terminal

TICKS = """
import time

def main():
    for number in range(600):
        print("tick", number)
        time.sleep(0.1)
"""


def state_of(device: tango.DeviceProxy, uid: int) -> str:
    return str(json.loads(device.Summarise([uid]))[0]["state"])


@pytest.fixture
def long(up: Stack) -> str:
    """Arguments of scan.py: the mount is some 5 s on its way to the first position, and stays there for a minute."""
    is_there = tango.DeviceProxy(f"tango://{up.tango_host}/sim/mount/1").azimuth > 75
    return f"[[{0 if is_there else 150}, 30], [60, 60], [60, 30]] dwell=60"


@pytest.mark.usefixtures("here")
def test_a_night_in_a_terminal(terminal: Terminal, device: tango.DeviceProxy, long: str) -> None:
    with terminal() as shell:
        shell.see(r"In \[1\]:")
        # A script is completed, also behind an assignment.
        shell.type("p = %oet_run sc\t")
        shell.see(r"scan\.py")
        shell.enter(f" {long}")
        shell.see(r"In \[2\]:")
        uid = device.activeProcedureId
        # Its progress is drawn in place; Ctrl-C leaves it running.
        shell.enter("%oet_watch")
        shell.see(rf"\rprocedure {uid}  RUNNING  \[#*\.+\] +\d+ %  slewing to position 1 of 3")
        shell.see(rf"\rprocedure {uid}  RUNNING  \[#+\.+\] +\d+ %  observing at position 1 of 3")
        shell.type("\x03")
        shell.see(rf"\rprocedure {uid} goes on; %oet_stop {uid} stops it")
        shell.see(r"In \[3\]:")
        assert state_of(device, uid) == "RUNNING"
        # And so does Ctrl-C in a wait.
        shell.enter("import threading; threading.Timer(2, print, ['wa' + 'its']).start(); p.wait()")
        shell.see("waits")
        shell.type("\x03")
        shell.see(r"KeyboardInterrupt: the script runs on")
        shell.see(r"In \[4\]:")
        assert "Traceback" not in shell.text
        # The id of what lives is completed.
        shell.type("%oet_stop \t")
        shell.see(rf"%oet_stop\s*{uid}")
        shell.enter(" enough of it")
        shell.see(
            rf"procedure {uid} \(file://scan.py\) is being stopped; procedure {uid + 1} \(file://abort.py\) follows"
        )
        shell.enter("p.wait()")
        shell.see(rf"ProcedureStopped: procedure {uid} \(file://scan.py\) is STOPPED: stopped on request: enough of it")
        shell.see(r"In \[6\]:")
        shell.type("\x04")
        shell.see(r"exit")
        shell.enter("y")
        assert shell.wait() == 0
        assert "Traceback" not in shell.text
    wait_until(lambda: state_of(device, uid + 1) == "COMPLETE", what="the abort script has completed")


@pytest.mark.usefixtures("here")
def test_a_narrow_terminal_has_one_line_of_progress_that_fits(terminal: Terminal) -> None:
    with terminal(columns=40) as shell:
        shell.see(r"In \[1\]:")
        shell.enter("%oet_run -w scan.py [[60,60],[0,60]]")  # some 2 s to each: it may take so long to be watched
        line = shell.see(r"\r(procedure \d+  RUNNING  \d+ %  slew[^\r\n]*)").group(1)
        assert len(line) == 39
        shell.see(r"\rprocedure \d+  file://scan.py  COMPLETE")
        shell.see(r"In \[2\]:")


@pytest.mark.usefixtures("here")
def test_output_is_followed_until_ctrl_c_which_leaves_the_script_running(
    terminal: Terminal, device: tango.DeviceProxy, own_scripts: Path
) -> None:
    (own_scripts / "ticks.py").write_text(TICKS)
    with terminal() as shell:
        shell.see(r"In \[1\]:")
        shell.enter("p = %oet_run ticks.py")
        shell.see(r"In \[2\]:")
        shell.enter("%oet_output -f")
        shell.see(r"tick 1\s[^$]*tick 5\s")
        shell.type("\x03")
        shell.see(r"procedure \d+ goes on")
        shell.see(r"In \[3\]:")
        shell.enter("str(p.state)")
        shell.see(r"'RUNNING'")
        # The shell ends while its script runs, and while it has subscribed to the device.
        shell.enter("exit")
        assert shell.wait() == 0
    assert state_of(device, device.activeProcedureId) == "RUNNING"
