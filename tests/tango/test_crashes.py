"""Whatever is killed from outside, scripts and clients come to no harm that can be avoided."""

import os
import signal
import time

import pytest
from support.processes import suspend
from support.tango_server import is_alive
from support.waiting import wait_until


def _kill_device_server(oet):
    victim = oet.server.device_server()
    os.kill(victim.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(victim.pid), 10, "the device server is gone")
    wait_until(lambda: oet.server.device_servers(), 30, "another device server")


def test_a_killed_device_server_is_started_again_and_scripts_run_on(own_server, tmp_path):
    oet = own_server()
    path = tmp_path / "said"
    uid = oet.ready("own_threads.py")
    oet.start(uid, str(path), 6)
    oet.recorder.wait_for_state(uid, "RUNNING")
    pid = oet.server.workers()[0].pid
    _kill_device_server(oet)
    assert is_alive(pid)
    oet.reconnect()
    wait_until(path.exists, 30, "the script ran to its end")
    wait_until(lambda: oet.summary(uid)["state"] == "COMPLETE", 30, "its process has gone")
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
    wait_until(lambda: oet.proxy.healthState.name == "OK", 20, "it is healthy")


@pytest.mark.long
def test_a_device_server_that_is_killed_again_and_again_is_started_again(own_server):
    oet = own_server()
    for _ in range(3):
        _kill_device_server(oet)
        oet.reconnect()
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"


def test_no_script_survives_main(own_server):
    oet = own_server()
    oet.armed("deaf.py")
    for script in ("good.py", "sleepy.py"):
        oet.ready(script)
    hanging = oet.prepare("hangs_at_import.py")
    oet.recorder.wait_for_state(hanging, "LOADING")
    workers = [process.pid for process in oet.server.workers()]
    assert len(workers) == 4
    everything = oet.server.tree()
    os.kill(oet.server.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, workers)), 10, "every script is gone")
    assert oet.server.wait() == -signal.SIGKILL
    wait_until(lambda: not oet.server.leftovers(everything), 30, "everything is gone")


def test_a_killed_template_is_replaced(own_server):
    oet = own_server()
    for _ in range(2):
        prepared = oet.ready("good.py")
        template, spares = oet.server.template(), oet.server.spares()
        for process in [template, *spares]:
            process.kill()
        wait_until(lambda template=template: not is_alive(template.pid), 10, "the template is gone")
        uid = oet.prepare("good.py")
        oet.recorder.wait_for_state(uid, "READY", 20)
        assert oet.server.template().pid != template.pid
        assert oet.state(prepared) == "READY"
    wait_until(lambda: oet.proxy.healthState.name == "OK", 20, "health is OK")


def test_a_killed_spare_is_replaced(own_server):
    oet = own_server(SpareWorkers=2)
    spares = wait_until(lambda: len(oet.server.spares()) == 2 and oet.server.spares(), 10, "two spares")
    for spare in spares:
        spare.kill()
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
    wait_until(lambda: len([spare for spare in oet.server.spares() if spare not in spares]) == 2, 10, "new spares")


def test_a_stopped_main_is_told_of_and_goes_on_when_continued(own_server):
    oet = own_server()
    suspend(oet.server.pid)
    try:
        oet.recorder.wait_for("healthState", lambda value: value == 2, 10)
        assert oet.proxy.healthState.name == "FAILED"
        assert "stopped" in oet.proxy.Status()
        assert oet.proxy.State().name == "FAULT"
    finally:
        os.kill(oet.server.pid, signal.SIGCONT)
    wait_until(lambda: oet.proxy.healthState.name == "OK", 10, "health is OK again")
    wait_until(lambda: oet.proxy.State().name == "ON", 10, "ON again")
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"


def test_a_script_that_kills_its_neighbours_pipe_or_writes_garbage_harms_nobody(oet, scratch):
    (scratch / "writes_garbage.py").write_text(
        "import os, stat, time\n\ndef main():\n"
        "    for fd in range(3, 256):\n"
        "        try:\n"
        "            if stat.S_ISSOCK(os.fstat(fd).st_mode):\n                os.write(fd, b'\\xff' * 100)\n"
        "        except OSError:\n            pass\n    time.sleep(60)\n"
    )
    bystander = oet.ready("good.py")
    uid = oet.run("writes_garbage.py")
    end = oet.recorder.wait_for_end(uid)
    assert end["state"] == "FAILED"
    assert "pipe is broken" in end["reason"]
    oet.start(bystander)
    assert oet.recorder.wait_for_end(bystander)["state"] == "COMPLETE"


@pytest.mark.parametrize("count", [5])
def test_many_that_die_at_once_are_all_told_of(oet, count):
    uids = [oet.ready("good.py") for _ in range(count)]
    pids = [oet.pid(uid) for uid in uids]
    began = time.time()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    ends = [oet.recorder.wait_for_end(uid) for uid in uids]
    assert {end["state"] for end in ends} == {"FAILED"}
    assert max(end["time"] for end in ends) - began < 10  # the news of it may be held up on its way to us
