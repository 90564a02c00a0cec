"""Init, DevRestart and RestartServer leave running procedures and subscriptions alone."""

import time

import pytest
import tango
from support.tango_server import is_alive
from support.waiting import wait_until


def _admin(oet):
    return tango.DeviceProxy(f"tango://{oet.database.host}/dserver/OetDevice/shared")


def _init(oet, other):
    oet.proxy.Init()


def _dev_restart(oet, other):
    _admin(oet).DevRestart(oet.name)


def _restart_server(oet, other):
    """RestartServer answers before it is done: a device that is new pushes its health, with the time of that push."""
    both = (oet, other)
    before = time.time()
    _admin(oet).RestartServer()

    def are_back():
        try:
            answering = [each.proxy.state() != tango.DevState.INIT for each in both]
        except tango.DevFailed:
            return False
        return all(answering) and all(each.recorder.newest["healthState"].time > before for each in both)

    wait_until(are_back, 15, "both devices are back")


RENEWALS = pytest.mark.parametrize("renew", [_init, _dev_restart, _restart_server])


@RENEWALS
def test_a_running_procedure_does_not_notice(oet, other, renew):
    uid = oet.running("sleepy.py")
    prepared = oet.ready("good.py")
    pid = oet.pid(uid)
    renew(oet, other)
    assert oet.proxy.State() == tango.DevState.RUNNING
    assert is_alive(pid)
    assert oet.pid(uid) == pid
    oet.stop(uid)
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    oet.start(prepared)
    assert oet.recorder.wait_for_end(prepared)["state"] == "COMPLETE"


@RENEWALS
def test_subscriptions_go_on_without_loss_and_without_repetition(oet, other, renew):
    oet.recorder.clear()
    start = oet.proxy.lifecycleSequence
    running = oet.run("sleepy.py", 0.5)
    prepared = []
    for _ in range(3):
        prepared.append(oet.prepare("good.py"))
        renew(oet, other)
    oet.recorder.wait_for_end(running)
    for uid in prepared:
        oet.recorder.wait_for_state(uid, "READY")
    oet.ready("good.py")
    oet.settle()
    sequences = [event["sequence"] for event in oet.recorder.lifecycle()]
    assert sequences == list(range(start + 1, oet.proxy.lifecycleSequence + 1))
    assert oet.recorder.errors() == []


SLOW_PUSHES = """
import sys

if "ska_oet_device.procedure.ui" in sys.orig_argv:
    import time
    from ska_oet_device.procedure.ui._device_events import DeviceEvents

    push = DeviceEvents._send

    def slowly(*args):
        time.sleep(0.025)
        push(*args)

    DeviceEvents._send = slowly
"""


@pytest.mark.long
def test_a_device_is_not_destroyed_while_events_are_pushed_to_it(own_server, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SLOW_PUSHES)
    # What is freed is overwritten (mallopt(3)): who still uses it fails at once.
    oet = own_server(environment={"PYTHONPATH": str(tmp_path), "MALLOC_PERTURB_": "165"})
    process = oet.server.device_server()
    admin = tango.DeviceProxy(oet.proxy.adm_name())
    oet.recorder.clear()
    start = oet.proxy.lifecycleSequence
    running = oet.run("sleepy.py", 1.0)
    prepared = []
    for _ in range(4):
        prepared.append(oet.prepare("good.py"))
        admin.DevRestart(oet.name)
    oet.recorder.wait_for_end(running)
    for uid in prepared:
        oet.recorder.wait_for_state(uid, "READY")
    oet.ready("good.py")
    oet.settle()
    assert oet.server.device_server() == process
    sequences = [event["sequence"] for event in oet.recorder.lifecycle()]
    assert sequences == list(range(start + 1, oet.proxy.lifecycleSequence + 1))


@RENEWALS
def test_everything_is_shown_as_before(oet, other, renew):
    uid = oet.ready("good.py")
    before = oet.summaries()
    sequence = oet.proxy.lifecycleSequence
    renew(oet, other)
    assert oet.summaries() == before
    assert oet.proxy.lifecycleSequence == sequence
    assert oet.proxy.activeProcedureId == uid
    assert oet.proxy.healthState.name == "OK"


def test_init_takes_changed_properties(oet):
    with oet.properties(MaxProcedures=1):
        oet.ready("good.py")
        with pytest.raises(tango.DevFailed, match="MaxProcedures is 1"):
            oet.prepare("good.py")
    oet.ready("good.py")


def test_ended_procedures_beyond_history_length_leave_the_attributes(oet):
    with oet.properties(HistoryLength=3):
        prepared = oet.ready("good.py")
        for _ in range(5):
            oet.recorder.wait_for_end(oet.run("good.py"))
        states = list(oet.proxy.procedureStates)
        assert sorted(states) == ["COMPLETE"] * 3 + ["READY"]
        assert oet.proxy.procedureIds[0] == prepared
        assert len(oet.summaries()) == 4
