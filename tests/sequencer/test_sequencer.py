"""The sequencer of examples/, a device server of its own, that has scripts run by a real OetDevice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tango
from support.tango_server import TERMINAL, EventRecorder, initialise
from support.waiting import wait_until

from ska_oet_device.client._stack import Stack

EXAMPLE = Path(__file__).parents[2] / "examples" / "sequencer" / "sequencer.py"
NAME = "mid-oet/sequencer/01"
FOLLOWED = ("State", "Status", "scripts", "states", "procedures", "progress")


@pytest.fixture(scope="module")
def sequencer(up: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tango.DeviceProxy]:
    """The device, in a server that was started as its README says."""
    host, port = up.tango_host.split(":")
    info = tango.DbDevInfo()
    info.name, info._class, info.server = NAME, "Sequencer", "Sequencer/01"
    tango.Database(host, int(port)).add_device(info)
    log = tmp_path_factory.mktemp("sequencer") / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, EXAMPLE, "01", "-ORBendPoint", "giop:tcp:127.0.0.1:0"],
            env={**os.environ, "TANGO_HOST": up.tango_host},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        proxy = tango.DeviceProxy(f"tango://{up.tango_host}/{NAME}")
        wait_until(lambda: _answers(proxy), 30, "the sequencer answers")
        yield proxy
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.wait()
        printed = log.read_text()
    assert "Traceback" not in printed, printed


def _answers(proxy: tango.DeviceProxy) -> bool:
    try:
        return bool(proxy.state() == tango.DevState.ON)
    except tango.DevFailed:
        return False


@pytest.fixture
def oet(up: Stack) -> tango.DeviceProxy:
    return tango.DeviceProxy(up.device)


@pytest.fixture
def heard(sequencer: tango.DeviceProxy) -> Iterator[EventRecorder]:
    """What the sequencer pushes, from now on."""
    recorder = EventRecorder(sequencer, FOLLOWED)

    def is_heard() -> bool:
        sequencer.RunScripts([])
        return len(recorder.values("progress")) > 1

    # Tango's connection may be made after a subscription has returned, and the sequencer says nothing twice.
    wait_until(is_heard, 30, "what the sequencer pushes is heard")
    wait_for_end(sequencer)
    recorder.clear()
    yield recorder
    recorder.close()


def wait_for_end(sequencer: tango.DeviceProxy) -> tuple[str, str]:
    wait_until(lambda: sequencer.state() != tango.DevState.RUNNING, 40, "the sequence has ended")
    return str(sequencer.state()), sequencer.status()


def test_a_sequence_runs_its_scripts_in_order_and_tells_so_by_events(
    sequencer: tango.DeviceProxy, oet: tango.DeviceProxy, heard: EventRecorder
) -> None:
    sequencer.RunScripts(["scan.py", "scan.py"])  # each of which is RUNNING long enough to be shown so
    assert wait_for_end(sequencer) == ("ON", "All steps are COMPLETE.")
    # Behind all else but the last 100 %, which the scan itself has told before.
    heard.wait_for("states", lambda value: tuple(value) == ("COMPLETE", "COMPLETE"))
    heard.wait_for("progress", lambda value: value == 100.0)
    progress = heard.values("progress")[1:]
    assert progress == sorted(progress)
    assert len({percent for percent in progress if 50 < percent < 100}) > 10  # as the scan goes on
    first, second = sequencer.procedures
    summaries: list[dict[str, Any]] = json.loads(oet.Summarise([first, second]))
    assert [summary["state"] for summary in summaries] == ["COMPLETE", "COMPLETE"]
    assert {request["user"] for summary in summaries for request in summary["requested_by"]} == {NAME}
    ends = [summary["history"]["process_states"] for summary in summaries]
    assert ends[0][-1][1] <= ends[1][0][1]  # the second one was asked for when the first had ended
    states = heard.values("states")
    assert ("RUNNING", "WAITING") in states
    assert ("COMPLETE", "RUNNING") in states
    assert states[-1] == ("COMPLETE", "COMPLETE")


def test_a_stop_ends_the_step_that_runs_and_begins_no_other(sequencer: tango.DeviceProxy, heard: EventRecorder) -> None:
    sequencer.RunScripts(["scan.py", "hello.py"])
    heard.wait_for("states", lambda value: tuple(value) == ("RUNNING", "WAITING"))
    with pytest.raises(tango.DevFailed, match="a sequence goes on"):
        sequencer.RunScripts(["hello.py"])
    sequencer.Stop()
    assert wait_for_end(sequencer) == ("ON", f"Stopped in step 1 of 2 (scan.py): stopped on request: stopped by {NAME}")
    assert sequencer.states == ("STOPPED", "WAITING")


def living(oet: tango.DeviceProxy) -> list[int]:
    return [each["id"] for each in json.loads(oet.Summarise([])) if each["state"] not in TERMINAL]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("nosuch.py", "no file for file://nosuch.py"),
        ("broken.py", "is FAILED: ValueError: the wind"),
    ],
)
def test_a_step_that_fails_is_told_with_its_reason_and_no_other_begins(
    sequencer: tango.DeviceProxy, oet: tango.DeviceProxy, tmp_path: Path, script: str, why: str
) -> None:
    wait_until(lambda: not living(oet), 40, "the abort script of another test has ended")
    (tmp_path / "broken.py").write_text("def main():\n    raise ValueError('the wind')\n")
    oet.put_property({"ScriptRoots": [str(tmp_path)]})
    initialise(oet)
    try:
        sequencer.RunScripts([script, "hello.py"])
        state, status = wait_for_end(sequencer)
    finally:
        oet.delete_property("ScriptRoots")
        initialise(oet)
    assert state == "ALARM"
    assert status.startswith(f"Failed in step 1 of 2 ({script}): ")
    assert why in status
    assert sequencer.states[1] == "WAITING"


def device_servers(up: Stack) -> list[psutil.Process]:
    found = []
    for process in up.left_processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "ska_oet_device.procedure.ui" in " ".join(process.cmdline()):
                found.append(process)
    return found


@pytest.mark.long
def test_a_sequence_goes_on_while_the_server_of_the_oet_device_is_killed_and_started_again(
    sequencer: tango.DeviceProxy, up: Stack, heard: EventRecorder
) -> None:
    sequencer.RunScripts(["hello.py", "scan.py", "hello.py"])
    heard.wait_for("progress", lambda value: value > 40)
    servers = device_servers(up)
    assert len(servers) == 1
    servers[0].kill()
    assert wait_for_end(sequencer) == ("ON", "All steps are COMPLETE.")
    assert sequencer.states == ("COMPLETE",) * 3
