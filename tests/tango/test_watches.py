"""Each process of a server is watched by another: one that hangs, or cannot be made, is not the end of the service."""

import contextlib
import os
import resource
import signal
import time

import pytest
from support.processes import suspend
from support.tango_server import is_alive
from support.waiting import wait_until

pytestmark = pytest.mark.long


@contextlib.contextmanager
def _without_descriptors(pid):
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = set(map(int, os.listdir(f"/proc/{pid}/fd")))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(set(range(len(taken) + 1)) - taken), before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_a_device_server_that_hangs_is_replaced_and_scripts_run_on(own_server, tmp_path):
    oet = own_server()
    path = tmp_path / "said"
    uid = oet.ready("own_threads.py")
    oet.start(uid, str(path), 2.5)
    oet.recorder.wait_for_state(uid, "RUNNING")
    hung = oet.server.device_server()
    suspend(hung.pid)
    wait_until(lambda: not is_alive(hung.pid), 30, "the device server that hangs is killed")
    wait_until(lambda: oet.server.device_server().pid != hung.pid, 10, "another device server")
    oet.reconnect()
    wait_until(path.exists, 10, "the script ran to its end")
    wait_until(lambda: oet.summary(uid)["state"] == "COMPLETE", 10, "its process has gone")
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
    assert oet.proxy.healthState.name == "OK"


def test_a_device_server_that_was_stopped_for_a_moment_or_with_main_goes_on(own_server):
    oet = own_server()
    device_server = oet.server.device_server().pid
    for stopped, seconds in (([device_server], 4), ([oet.server.pid, device_server], 14)):
        for pid in stopped:
            suspend(pid)
        time.sleep(seconds)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
    assert oet.server.device_server().pid == device_server


def test_a_template_that_is_stopped_is_replaced_though_nobody_asks_for_a_worker(own_server):
    oet = own_server()
    wait_until(lambda: len(oet.server.spares()) == 2, 20, "two spares")
    template = oet.server.template().pid
    suspend(template)
    oet.recorder.wait_for("healthState", lambda value: value == 2, 10)
    wait_until(lambda: not is_alive(template), 15, "the template that hangs is killed")
    wait_until(lambda: oet.recorder.values("healthState")[-1] == 0, 15, "health is OK again")
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"


def test_commands_answer_in_time_while_main_is_stopped(own_server):
    oet = own_server()
    ready = oet.ready("good.py")
    suspend(oet.server.pid)
    try:
        oet.recorder.wait_for("State", lambda state: state.name == "FAULT", 10)
        took = []
        for call in (lambda: oet.prepare("good.py"), lambda: oet.start(ready), oet.proxy.Status) * 3:
            began = time.monotonic()
            with contextlib.suppress(Exception):  # the second start of one procedure is refused
                call()
            took.append(time.monotonic() - began)
        assert sorted(took)[len(took) // 2] < 1, took
    finally:
        os.kill(oet.server.pid, signal.SIGCONT)
    oet.recorder.wait_for_end(ready)
    wait_until(lambda: oet.proxy.State().name == "ON", 10, "ON again")


def test_device_server_and_template_that_die_without_descriptors_come_back(own_server):
    oet = own_server()
    wait_until(lambda: len(oet.server.spares()) == 2, 20, "two spares")
    running = oet.armed("deaf.py")
    victims = oet.server.device_server(), oet.server.template()
    with _without_descriptors(oet.server.pid):
        for victim in victims:
            victim.kill()
        wait_until(lambda: not any(is_alive(victim.pid) for victim in victims), 20, "both are gone")
        time.sleep(2)
    wait_until(lambda: oet.server.device_server().pid != victims[0].pid, 20, "another device server")
    oet.reconnect()
    oet.ready("good.py")
    assert oet.state(running) == "RUNNING"


THREADS_FAIL = """
import os
if "OET_TEST_FAULTS" in os.environ and "ska_oet_device.procedure.ui" in " ".join(__import__("sys").orig_argv):
    import ska_oet_device.procedure.hosting._service_keeper as keeper
    import ska_oet_device.procedure.history._writer as writer
    import ska_oet_device.procedure.ui._pusher as pusher
    import ska_oet_device.procedure.ui._host as host

    def failing(owner, name):
        method, fault = getattr(owner, name), os.environ["OET_TEST_FAULTS"]
        def instead(*args):
            if os.path.exists(fault):
                raise ZeroDivisionError("injected into " + name)
            return method(*args)
        setattr(owner, name, instead)

    for owner, name in (
        (keeper.ServiceKeeper, "_look_after_history"),
        (keeper.ServiceKeeper, "_look_after_environments"),
        (writer.HistoryWriter, "_look_for_file"),
        (pusher.EventPusher, "_push_output"),
        (host.Runtime, "lost_device"),
        (host.DeviceHost, "tick"),
    ):
        failing(owner, name)
"""


def test_each_thread_of_the_device_server_goes_on_after_faults_and_tells_those_that_last(own_server, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(THREADS_FAIL)
    fault = tmp_path / "fault"
    oet = own_server(environment={"PYTHONPATH": str(tmp_path), "OET_TEST_FAULTS": str(fault)})
    device_server = oet.server.device_server().pid
    fault.touch()
    wait_until(lambda: "cannot look after mid-oet/subarray/" in oet.proxy.Status(), 20, "Status tells of it")
    assert oet.proxy.healthState.name in ("DEGRADED", "FAILED")
    fault.unlink()
    oet.recorder.wait_for_end(oet.run("good.py"))
    wait_until(lambda: oet.proxy.healthState.name == "OK", 20, "all is well again")
    wait_until(lambda: "cannot" not in oet.proxy.Status(), 20, "Status is clean again")
    assert oet.server.device_server().pid == device_server
