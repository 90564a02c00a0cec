"""Processes that main may not kill, since they are another user's: an answer like any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.processes import is_gone
from support.sources import END_MAIN_THREAD, NOTHING, SLEEPING
from support.two_users import SLEEP, WITHOUT_KILL, others
from support.waiting import wait_until

__all__ = ["others"]

OTHER = "mid-oet/subarray/02"

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

BECOMES_ANOTHER = """
    import os
    def main(program, *arguments):
        os.execvp(program, [program, *arguments])
"""
LEAVES_ANOTHER = """
    import os, subprocess, time
    def main(how, *arguments):
        pid = subprocess.Popen(arguments).pid
        while os.stat(f"/proc/{pid}").st_uid == os.getuid():
            time.sleep(0.01)  # until then it can be killed
        if how == "raises":
            raise RuntimeError("main has failed")
"""
LEAVES_ANOTHER_WITHOUT_A_MAIN_THREAD = f"""
{END_MAIN_THREAD}
import os, time
def main():
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.setresuid(65534, 65534, 65534)
        end_main_thread(lambda: time.sleep(600))
    while open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
"""
LEAVES_ONE_DEAD_AND_ITS_TRACER = """
    import ctypes, os, time
    def child(do):
        pid = os.fork()
        if pid == 0:
            os.setsid()
            do()
            time.sleep(600)
        return pid
    def main():
        reader, writer = os.pipe()
        traced = child(lambda: None)
        def trace():
            answer = ctypes.CDLL(None).ptrace(0x4206, traced, None, None)  # PTRACE_SEIZE
            os.setresuid(65534, 65534, 65534)
            os.write(writer, str(answer).encode())
        tracer = child(trace)
        assert os.read(reader, 9) == b"0"
"""
"""What is killed is not gone before its tracer, who is another user's, has taken notice: for main, never."""


@pytest.fixture
def main(others, new_main):
    return new_main(within=WITHOUT_KILL)


def unknown(main, uid, others) -> str:
    """Wait until a procedure is UNKNOWN; returns the id of the process that is the reason."""
    change = main.wait_for(uid, "UNKNOWN", 40)
    others += change.exit["survivors"]
    (pid,) = change.exit["survivors"]
    assert change.reason == f"process {pid} cannot be killed: it is another user's"
    return pid


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_one_that_is_left_behind_makes_the_end_unknown_until_it_has_gone(main, script, others, how):
    other, late = main.running(script(SLEEPING), device=OTHER), main.ready(script(NOTHING))
    uid = main.ready(script(LEAVES_ANOTHER))
    main.run(uid, "main", how, *SLEEP)
    if how == "raises":
        main.wait_for(uid, "RUNNING")
    else:
        wait_until(lambda: main.states(uid)[-2:] == ["RUNNING", "READY"], 20, "the end of main")
    main.stop(other, device=OTHER)
    main.wait_for(other, "STOPPED", 10)  # others end meanwhile
    pid = unknown(main, uid, others)
    main.run(late)
    dropped = wait_until(lambda: main.told.dropped, 20, "the dropped start")[0]
    assert f"procedure {uid} is UNKNOWN: process {pid} is alive, and this server cannot kill it" in dropped.reason
    os.kill(pid, signal.SIGKILL)
    end = main.wait_for(uid, "FAILED", 20)
    assert f"process {pid} has gone, " in end.reason
    assert end.exit["survivors"] == []
    assert pid in end.exit["reaped"]
    main.run(late)
    assert main.wait_for_end(late).reason == "completed"


def test_one_whose_main_thread_has_ended_holds_nobody_else_up(main, script, others):
    uid, other = main.ready(script(LEAVES_ANOTHER_WITHOUT_A_MAIN_THREAD)), main.ready(script(NOTHING), device=OTHER)
    main.run(uid)
    pid = unknown(main, uid, others)
    began, used = time.monotonic(), _processor_time(main.pid)
    main.stop(other, device=OTHER)
    main.wait_for(other, "STOPPED", 20)
    time.sleep(max(0.0, began + 2 - time.monotonic()))
    assert _processor_time(main.pid) - used < 0.3, "it rests between looks"
    os.kill(pid, signal.SIGKILL)
    assert pid in main.wait_for(uid, "FAILED", 20).exit["reaped"]


def _processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def become_another(main, script, others):
    """Have a script become another user's process; returns the ids of procedure and process."""
    uid = main.ready(script(BECOMES_ANOTHER), grace=0.2)
    pid = main.wait_for(uid, "READY").os_pid
    main.run(uid, "main", *SLEEP)
    wait_until(
        lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep"), 20, "it is the other user's sleep"
    )
    others.append(pid)
    return uid, pid


def test_one_that_a_script_has_become_is_unknown_when_it_is_stopped_until_it_has_gone(main, script, others):
    other, late = main.ready(script(NOTHING)), main.ready(script(NOTHING))
    uid = main.running(script(SLEEPING))
    main.stop(uid)
    main.wait_for(uid, "STOPPED")
    uid, pid = become_another(main, script, others)
    main.run(late, force=True, after=uid)
    main.stop(uid)
    main.stop(other)
    main.wait_for(other, "STOPPED", 10)
    assert unknown(main, uid, others) == pid
    dropped = wait_until(lambda: main.told.dropped, 20, "the dropped start of the abort script")[0]
    assert (dropped.msg_src, f"procedure {uid} is UNKNOWN: process {pid} is alive" in dropped.reason) == (late, True)
    main.stop(uid)  # which changes nothing
    os.kill(pid, signal.SIGTERM)
    end = main.wait_for(uid, "STOPPED", 20)
    assert end.reason.startswith("stopped on request; the process refused SIGKILL; ")
    assert f"process {pid} has gone, " in end.reason
    assert end.exit["signal"] == signal.SIGTERM
    assert end.exit["signals_sent"] == []
    main.run(late)
    assert main.wait_for_end(late).reason == "completed"


def test_main_ends_all_the_same(main, script, others):
    uid, pid = become_another(main, script, others)
    main.process.send_signal(signal.SIGTERM)
    main.wait_for(uid, "UNKNOWN", 20)
    assert main.process.wait(30) == 0
    assert not is_gone(pid)
    os.kill(pid, signal.SIGKILL)


def test_main_that_is_told_twice_to_end_tells_soon_what_survives(others, new_main, in_main, script):
    # After so many seconds it would be told anyway.
    patient = "from ska_oet_device.procedure.supervision import _orphans\n_orphans._GIVE_UP_AFTER = 60.0\n"
    main = new_main(within=WITHOUT_KILL, env=in_main(patient))
    uid = main.ready(script(LEAVES_ONE_DEAD_AND_ITS_TRACER))
    main.run(uid)
    wait_until(lambda: main.states(uid)[-2:] == ["RUNNING", "READY"], 20, "the end of main")
    main.process.send_signal(signal.SIGTERM)
    for _ in range(2):  # main has noticed it by the second answer: another one that comes before would be the same
        main.sync()
    with pytest.raises(AssertionError):
        wait_until(lambda: "UNKNOWN" in main.states(uid), 2.0)
    main.process.send_signal(signal.SIGTERM)
    others += main.wait_for(uid, "UNKNOWN", 20).exit["survivors"]
    assert len(others) == 2
    for pid in others:
        os.kill(pid, signal.SIGKILL)


ENGINE = """
import sys, time
from ska_oet_device.config import Settings
from ska_oet_device.engine import start_engine
from ska_oet_device.procedure.application import PrepareProcessCommand, StartProcessCommand
from ska_oet_device.procedure.domain import FileSystemScript, ProcedureInput
path = sys.argv[1]
with start_engine(Settings(script_roots=(path.rpartition("/")[0],), stop_grace_period=0.1)) as service:
    uid = service.prepare(PrepareProcessCommand(FileSystemScript(f"file://{path}"), ProcedureInput())).id
    service.start(StartProcessCommand(uid, "main", ProcedureInput(), force_start=True))
    while [state.name for state, _ in service.summarise([uid])[0].history.process_states][-2:] != ["RUNNING", "READY"]:
        time.sleep(0.01)
summary = service.summarise([uid])[0]
print(summary.state.name, *(summary.history.exit or {}).get("survivors", ()))
"""


def test_an_engine_waits_until_main_has_told_what_survives(script, others, tmp_path):
    argv = [*WITHOUT_KILL, sys.executable, "-c", ENGINE, script(LEAVES_ONE_DEAD_AND_ITS_TRACER)]
    with (tmp_path / "told").open("w+") as told:  # no pipe, which those that are left would keep open
        subprocess.run(argv, stdout=told, timeout=90, check=True)
        told.seek(0)
        state, *survivors = told.read().splitlines()[-1].split()  # behind what main logs
    assert state == "UNKNOWN"
    others += [int(pid) for pid in survivors]
    assert len(others) == 2
