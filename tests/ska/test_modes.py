"""adminMode, loggingLevel, healthInfo, and State as the SKA's state model has it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable

import pytest
import tango
from support.audit import requests_since
from support.durable import Station
from support.processes import let_go_on, suspend
from support.tango_server import filesystem, reason_of
from support.waiting import wait_until

OUT_OF_USE = ("OFFLINE", "NOT_FITTED", "RESERVED")


def test_a_device_is_online_until_somebody_says_otherwise(oet):
    config = oet.proxy.get_attribute_config("adminMode")
    assert list(config.enum_labels) == ["ONLINE", "OFFLINE", "ENGINEERING", "NOT_FITTED", "RESERVED"]
    assert oet.proxy.adminMode.name == "ONLINE"


@pytest.mark.parametrize("mode", OUT_OF_USE)
def test_a_device_that_is_not_in_use_begins_no_script_by_whatever_name(oet, mode):
    uid = oet.ready("good.py")
    oet.proxy.selectedScript = "file://good.py"
    oet.proxy.adminMode = mode
    requests = json.dumps({"script": filesystem("good.py")})
    begin = {
        "Prepare": requests,
        "Run": requests,
        "Start": str(uid),
        "PrepareSelected": None,
        "RunSelected": None,
        "StartSelected": None,
    }
    for command, argument in begin.items():
        with pytest.raises(tango.DevFailed) as refusal:
            oet.proxy.command_inout(command, argument)
        reason, text = reason_of(refusal.value)
        assert (reason, f"adminMode is {mode}" in text) == ("OET_NotAllowed", True), command
    for command in ("RunScript", "PrepareScript", "StartScript"):
        (code,), (text,) = oet.proxy.command_inout(command, begin.get(command.removesuffix("Script"), requests))
        assert (code, text.startswith(f"OET_NotAllowed: adminMode is {mode}")) == (5, True)
    sentence = f"adminMode is {mode}: no script is prepared or started."
    wait_until(lambda: sentence in oet.proxy.Status(), what="Status says so")
    assert oet.summary(uid)["state"] == "READY"


@pytest.mark.parametrize("mode", OUT_OF_USE)
@pytest.mark.parametrize("stop", ["Stop", "StopActive", "StopSelected", "Abort"])
def test_every_stop_works_whatever_the_mode(oet, mode, stop):
    uid = oet.running("sleepy.py")
    oet.proxy.adminMode = mode
    oet.proxy.command_inout(stop, "" if stop == "Stop" else None)
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"


def attributes_of(oet):
    with contextlib.suppress(tango.DevFailed):
        return list(oet.proxy.attribute_list_query())
    return None


def test_a_new_device_object_tells_what_holds_as_what_was_written_last(oet):
    """Dashboards show that beside the value: an OFF that nobody has written would be taken for one."""
    oet.proxy.adminMode = "ENGINEERING"
    oet.proxy.waitForQaReady = True
    oet.proxy.selectedScript = "file://good.py"
    admin = tango.DeviceProxy(oet.proxy.adm_name())
    admin.SetLoggingLevel([[5], [oet.name]])
    admin.DevRestart(oet.name)
    writable = (tango.AttrWriteType.READ_WRITE, tango.AttrWriteType.READ_WITH_WRITE, tango.AttrWriteType.WRITE)
    known = wait_until(lambda: attributes_of(oet), 20, "it answers")
    names = [each.name for each in known if each.writable in writable]
    assert {"adminMode", "loggingLevel", "waitForQaReady", "selectedScript"} <= set(names)
    found = {each.name: each for each in oet.proxy.read_attributes(names)}
    assert {name: each.w_value for name, each in found.items()} == {name: each.value for name, each in found.items()}
    assert (found["adminMode"].value, found["waitForQaReady"].value) == (2, True)
    oet.proxy.selectedScript = ""


def test_what_was_accepted_before_goes_on(oet):
    uid = oet.run("sleepy.py", 0.2)
    oet.proxy.adminMode = "OFFLINE"
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"


@pytest.mark.parametrize("mode", ["ONLINE", "ENGINEERING"])
def test_a_device_in_use_runs_scripts(oet, mode):
    oet.proxy.adminMode = "RESERVED"
    oet.proxy.adminMode = mode
    wait_until(lambda: "adminMode" not in oet.proxy.Status(), what="Status says no more of it")
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"


def test_a_mode_that_there_is_not_is_refused_and_changes_nothing(oet):
    with pytest.raises(tango.DevFailed):
        oet.proxy.adminMode = 5
    assert oet.proxy.adminMode.name == "ONLINE"


def test_a_change_of_the_mode_is_pushed_kept_in_the_audit_and_survives_init(oet):
    began = time.time()
    oet.proxy.adminMode = "ENGINEERING"
    oet.recorder.wait_for("adminMode", lambda mode: mode == 2)
    (request,) = requests_since(oet.proxy, began)
    assert (request["command"], request["answer"]) == ("adminMode", "accepted; set to ENGINEERING")
    oet.init()
    assert oet.proxy.adminMode.name == "ENGINEERING"


@pytest.mark.long
def test_an_abort_script_runs_although_the_device_is_not_in_use(station: Callable[..., Station]):
    oet = station(AbortScript="file://abort.py").oet
    uid = oet.running("sleepy.py")
    oet.proxy.adminMode = "OFFLINE"
    (script,) = json.loads(oet.proxy.Stop(str(uid)))
    assert oet.recorder.wait_for_end(script["id"])["state"] == "COMPLETE"


@pytest.mark.long
def test_the_mode_survives_restarts_of_the_device_server_and_of_all(station: Callable[..., Station]):
    made = station()
    made.proxy.adminMode = "OFFLINE"
    # A write waits but a moment until it is kept.
    wait_until(lambda: made.database.kept(made.device, "adminMode") == ["1"], 20, "the database has it")
    made.kill_device_server()
    wait_until(lambda: made.proxy.adminMode.name == "OFFLINE", 10, "the device server knows its mode")
    made.kill_main()
    made.start()
    wait_until(lambda: made.proxy.adminMode.name == "OFFLINE", 10, "the server knows its mode")


# -- the log


def lines(oet, text: str) -> list[str]:
    return [line for line in oet.server.log_text().splitlines() if text in line]


def test_the_level_of_the_log_can_be_written_and_is_what_is_logged(oet):
    config = oet.proxy.get_attribute_config("loggingLevel")
    assert list(config.enum_labels) == ["OFF", "FATAL", "ERROR", "WARNING", "INFO", "DEBUG"]
    assert oet.proxy.loggingLevel.name == "INFO"
    try:
        oet.proxy.loggingLevel = "WARNING"
        oet.recorder.wait_for("loggingLevel", lambda level: level == 3)
        with pytest.raises(tango.DevFailed):
            oet.proxy.Prepare("file://not_while_it_is_quiet.py")
        oet.proxy.loggingLevel = "DEBUG"
        with pytest.raises(tango.DevFailed):
            oet.proxy.Prepare("file://now_it_is_not_quiet.py")
        wait_until(lambda: lines(oet, "now_it_is_not_quiet"), what="a line")
        assert not lines(oet, "not_while_it_is_quiet")
    finally:
        oet.proxy.loggingLevel = "INFO"


def test_a_level_that_an_administrator_sets_is_read_and_pushed(oet):
    admin = tango.DeviceProxy(oet.proxy.adm_name())
    try:
        admin.SetLoggingLevel([[2], [oet.name]])  # Tango's ERROR
        assert oet.proxy.loggingLevel.name == "ERROR"
        oet.recorder.wait_for("loggingLevel", lambda level: level == 2)
        oet.proxy.loggingLevel = "OFF"
        assert list(admin.GetLoggingLevel([oet.name])[0]) == [0]
    finally:
        oet.proxy.loggingLevel = "INFO"


# -- State and health


@pytest.mark.long
def test_state_is_on_while_a_procedure_is_running_where_a_site_says_so(station: Callable[..., Station]):
    oet = station(StateWhileRunning="on").oet
    uid = oet.running("sleepy.py")
    wait_until(lambda: "is RUNNING" in oet.proxy.Status(), what="Status says so")
    assert oet.proxy.State() == tango.DevState.ON
    oet.stop(uid)
    oet.recorder.wait_for_end(uid)


@pytest.mark.long
def test_the_reasons_of_the_health_are_told_and_go_with_it(station: Callable[..., Station]):
    made = station()
    oet = made.oet
    assert len(oet.proxy.healthInfo) == 0
    template = made.server.template()
    suspend(template.pid)
    try:
        oet.recorder.wait_for("healthInfo", lambda told: "template process" in str(told), 30)
        assert "template process" in oet.proxy.healthInfo[0]
        assert oet.proxy.healthInfo[0] in oet.proxy.Status()
    finally:
        let_go_on(template.pid)
    wait_until(lambda: not len(oet.recorder.latest["healthInfo"]), 20, "there is no reason any more")
