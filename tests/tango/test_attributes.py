"""Every attribute has the contract's type, tells the truth, and pushes change, archive and alarm events."""

import json
import uuid

import pytest
import tango
from support.checks import checked
from support.tango_server import PUSHED, SCRIPTS, EventRecorder, Oet, Server, filesystem
from support.waiting import wait_until

import ska_oet_device

TYPES = {
    "procedureIds": (tango.DevLong64, tango.SPECTRUM),
    "procedureScripts": (tango.DevString, tango.SPECTRUM),
    "procedureStates": (tango.DevString, tango.SPECTRUM),
    "procedures": (tango.DevString, tango.SCALAR),
    "activeProcedureId": (tango.DevLong64, tango.SCALAR),
    "activeProcedureState": (tango.DevEnum, tango.SCALAR),
    "activeFunction": (tango.DevString, tango.SCALAR),
    "activeScript": (tango.DevString, tango.SCALAR),
    "activeProgress": (tango.DevDouble, tango.SCALAR),
    "activeActivity": (tango.DevString, tango.SCALAR),
    "lifecycleEvent": (tango.DevString, tango.SCALAR),
    "lifecycleSequence": (tango.DevLong64, tango.SCALAR),
    "scriptEvent": (tango.DevString, tango.SCALAR),
    "stacktrace": (tango.DevString, tango.SCALAR),
    "waitForQaReady": (tango.DevBoolean, tango.SCALAR),
    "availableScripts": (tango.DevString, tango.SPECTRUM),
    "selectedScript": (tango.DevString, tango.SCALAR),
    "scriptArguments": (tango.DevString, tango.SCALAR),
    "selectedProcedure": (tango.DevLong64, tango.SCALAR),
    "selectedProcedureState": (tango.DevEnum, tango.SCALAR),
    "selectedProcedureDetails": (tango.DevString, tango.SCALAR),
    "selectedProcedureOutput": (tango.DevString, tango.SCALAR),
    "procedureTable": (tango.DevString, tango.IMAGE),
    "healthState": (tango.DevEnum, tango.SCALAR),
    "healthInfo": (tango.DevString, tango.SPECTRUM),
    "adminMode": (tango.DevEnum, tango.SCALAR),
    "loggingLevel": (tango.DevEnum, tango.SCALAR),
    "lrcProtocolVersions": (tango.DevLong64, tango.SPECTRUM),
    "_lrcEvent": (tango.DevString, tango.SPECTRUM),
    "longRunningCommandResult": (tango.DevString, tango.SPECTRUM),
    "longRunningCommandProgress": (tango.DevString, tango.SPECTRUM),
    "longRunningCommandStatus": (tango.DevString, tango.SPECTRUM),
    "longRunningCommandInProgress": (tango.DevString, tango.SPECTRUM),
    "longRunningCommandsInQueue": (tango.DevString, tango.SPECTRUM),
    "longRunningCommandIDsInQueue": (tango.DevString, tango.SPECTRUM),
    "lrcQueue": (tango.DevString, tango.SPECTRUM),
    "lrcExecuting": (tango.DevString, tango.SPECTRUM),
    "lrcFinished": (tango.DevString, tango.SPECTRUM),
    "versionId": (tango.DevString, tango.SCALAR),
    "buildState": (tango.DevString, tango.SCALAR),
}

# What operators set.
WRITTEN = ("waitForQaReady", "selectedScript", "scriptArguments", "selectedProcedure", "adminMode", "loggingLevel")
SELDOM = ("healthState", "healthInfo", "versionId", "buildState", "availableScripts", "lrcProtocolVersions")
# From one event to the next, in which everything that can change does change.
CHANGING = tuple(set(PUSHED) - {*SELDOM, *WRITTEN})


@pytest.mark.parametrize("name", TYPES)
def test_an_attribute_has_the_type_of_the_contract(oet, name):
    config = oet.proxy.get_attribute_config(name)
    assert (config.data_type, config.data_format) == TYPES[name]


def test_progress_has_its_limits_in_its_configuration(oet):
    config = oet.proxy.get_attribute_config("activeProgress")
    assert (float(config.min_value), float(config.max_value), config.unit) == (0.0, 100.0, "%")


def test_states_are_named_as_in_the_specification(oet):
    labels = list(oet.proxy.get_attribute_config("activeProcedureState").enum_labels)
    assert labels == [
        "UNKNOWN", "CREATING", "IDLE", "PREP_ENV", "LOADING", "INITIALISING", "READY", "RUNNING", "COMPLETE",
        "STOPPED", "FAILED",
    ]  # fmt: skip
    health = list(oet.proxy.get_attribute_config("healthState").enum_labels)
    assert health == ["OK", "DEGRADED", "FAILED", "UNKNOWN"]


def test_only_what_operators_set_can_be_written(oet):
    writable = {
        config.name
        for config in oet.proxy.get_attribute_config(list(TYPES))
        if config.writable != tango.AttrWriteType.READ
    }
    assert writable == set(WRITTEN)


def test_nothing_is_polled(oet):
    assert not oet.proxy.polling_status()


def test_version_and_build_are_told(oet):
    assert oet.proxy.versionId == ska_oet_device.__version__
    name, version, description = oet.proxy.buildState.split(", ", 2)
    assert (name, version) == ("ska-oet-device", ska_oet_device.__version__)
    assert description


def test_attributes_follow_a_procedure(oet):
    assert oet.proxy.State() == tango.DevState.ON
    uid = oet.ready("sleepy.py")
    assert oet.proxy.State() == tango.DevState.ON
    assert oet.proxy.activeProcedureId == uid
    assert oet.proxy.activeProcedureState.name == "READY"
    assert oet.proxy.activeFunction == ""
    oet.start(uid)
    oet.recorder.wait_for("State", lambda state: state == tango.DevState.RUNNING)
    assert oet.proxy.State() == tango.DevState.RUNNING
    assert str(uid) in oet.proxy.Status()
    assert oet.proxy.activeProcedureState.name == "RUNNING"
    assert oet.proxy.activeFunction == "main"
    assert oet.proxy.activeScript.endswith("/sleepy.py")
    oet.stop(uid)
    oet.recorder.wait_for_end(uid)
    oet.recorder.wait_for("State", lambda state: state == tango.DevState.ON)
    assert oet.proxy.activeProcedureState.name == "STOPPED"
    assert oet.proxy.activeFunction == ""


def test_the_running_procedure_is_the_active_one_whatever_else_changes(oet):
    running = oet.running("sleepy.py")
    other = oet.ready("good.py")
    assert oet.proxy.activeProcedureId == running
    oet.stop(running)
    oet.recorder.wait_for_end(running)
    oet.stop(other)
    oet.recorder.wait_for_end(other)
    assert oet.proxy.activeProcedureId == other


def test_rows_are_of_one_length_and_in_one_order(oet):
    uids = [oet.ready("good.py"), oet.ready("sleepy.py")]
    ids = list(oet.proxy.procedureIds)
    scripts, states = oet.proxy.procedureScripts, oet.proxy.procedureStates
    assert len(ids) == len(scripts) == len(states)
    assert ids == sorted(ids)
    rows = dict(zip(ids, zip(scripts, states, strict=True), strict=True))
    assert rows[uids[0]] == ("file://good.py", "READY")
    assert rows[uids[1]] == ("file://sleepy.py", "READY")


def test_rows_are_always_pushed_together(oet):
    uid = oet.run("good.py")
    oet.recorder.wait_for_end(uid)
    oet.recorder.wait_for("procedureIds", lambda ids: uid in ids)

    def until_its_end():
        rows = [(name, event) for name, event in list(oet.recorder.arrivals) if name in ROWS]
        name, event = rows[-1]
        return rows if name == ROWS[-1] and event.value[-1] == "COMPLETE" else None

    rows = wait_until(until_its_end, 20, "the rows show its end")
    while rows[0][0] != ROWS[0]:  # what stood there was being pushed once more when the test began
        del rows[0]
    assert [name for name, _ in rows] == list(ROWS) * (len(rows) // 3)
    for index in range(0, len(rows), 3):
        assert len({len(event.value) for _, event in rows[index : index + 3]}) == 1
        assert len({event.time for _, event in rows[index : index + 3]}) == 1


ROWS = ("procedureIds", "procedureScripts", "procedureStates")


def test_procedures_are_summaries_without_stack_traces(oet):
    uid = oet.run("raises.py")
    oet.recorder.wait_for_end(uid)
    mine = json.loads(oet.proxy.procedures)[-1]
    full = oet.summary(uid)
    assert "SKA999" in full["history"].pop("stacktrace")
    assert mine == full


def test_the_newest_failure_is_shown(oet):
    receiver = str(uuid.uuid4())
    uid = oet.run("raises.py", receiver)
    oet.recorder.wait_for_end(uid)
    event = oet.recorder.wait_for("stacktrace", lambda text: receiver in text)
    assert event.value == oet.proxy.stacktrace == oet.summary(uid)["history"]["stacktrace"]


def test_progress_is_invalid_where_nothing_is_reported(oet):
    oet.running("progress.py", fn="silent", seconds=60)
    for name in ("activeProgress", "activeActivity"):
        assert oet.proxy.read_attribute(name).quality == tango.AttrQuality.ATTR_INVALID


def test_progress_is_what_the_script_reports(oet):
    oet.run("progress.py", percent=12.5, activity="slewing", seconds=60)
    event = oet.recorder.wait_for("activeProgress", lambda value: value == 12.5)
    assert event.quality == tango.AttrQuality.ATTR_VALID
    oet.recorder.wait_for("activeActivity", lambda value: value == "slewing")
    assert oet.proxy.activeProgress == 12.5
    assert oet.proxy.activeActivity == "slewing"


def _change_everything(oet):
    failed = oet.run("raises.py", str(uuid.uuid4()))
    oet.recorder.wait_for_end(failed)
    running = oet.running("progress.py", seconds=60)
    oet.recorder.wait_for("activeProgress", lambda value: value == 42.5)
    oet.stop(running)
    oet.recorder.wait_for_end(running)
    oet.proxy.RunScript(json.dumps({"script": filesystem("progress.py"), "run_args": {"kwargs": {"seconds": 60}}}))
    oet.recorder.wait_for("longRunningCommandProgress", lambda told: "42" in (told or ()))
    oet.proxy.Abort()
    oet.recorder.wait_for("lrcFinished", lambda told: told and "Abort" in told[-1])
    checked(oet, "good.py")


def test_every_attribute_that_changes_pushes_change_events(oet):
    oet.recorder.clear()
    _change_everything(oet)
    for name in CHANGING:
        wait_until(lambda name=name: oet.recorder.events[name], 20, f"an event of {name}")
    assert oet.recorder.errors() == []


KINDS = {
    "change": tango.EventType.CHANGE_EVENT,
    "archive": tango.EventType.ARCHIVE_EVENT,
    "alarm": tango.EventType.ALARM_EVENT,
}
OUTPUT = ("scriptOutput", "selectedProcedureOutput")
EVERY = (*PUSHED, *OUTPUT)


def _told(recorder, name):
    # Tango takes the time of State and Status itself, for each kind anew.
    timed = name not in ("State", "Status")
    events = list(recorder.events[name])
    return [(str(event.value), event.time if timed else 0, event.quality, event.error) for event in events]


def test_all_kinds_of_events_of_every_attribute_are_the_same(oet):
    assert set(EVERY) == set(oet.proxy.get_attribute_list())
    # What is shown of a command for 10 s would be there for the first to subscribe, and perhaps not for the last.
    wait_until(lambda: not oet.proxy.longRunningCommandStatus, what="nothing is shown of commands that have finished")
    recorders = {name: EventRecorder(oet.proxy, EVERY, kind) for name, kind in KINDS.items()}
    try:
        for name in EVERY:
            first = {kind: str(recorder.events[name][0].value) for kind, recorder in recorders.items()}
            assert len(set(first.values())) == 1, (name, first)
        for recorder in recorders.values():
            recorder.clear()
        oet.recorder.wait_for_end(oet.run("prints_a_line.py"))
        recorders["change"].wait_for("scriptOutput", lambda text: "a line" in text)
        _change_everything(oet)
        oet.proxy.waitForQaReady = not oet.proxy.waitForQaReady
        # Two changes that follow each other at once may be one event: the value is what it was.
        recorders["change"].wait_for("waitForQaReady", lambda _: True)
        oet.proxy.waitForQaReady = not oet.proxy.waitForQaReady
        for name in {*CHANGING, *OUTPUT, "waitForQaReady"}:
            wait_until(lambda name=name: recorders["change"].events[name], 20, f"an event of {name}")
        oet.settle()
        for name in EVERY:
            told = [lambda kind=kind, name=name: _told(recorders[kind], name) for kind in KINDS]
            wait_until(lambda told=told: told[0]() == told[1]() == told[2](), 20, f"the same events of {name}")
        for recorder in recorders.values():
            assert recorder.errors() == []
    finally:
        for recorder in recorders.values():
            recorder.close()


@pytest.mark.parametrize("name", ["lifecycleEvent", "lifecycleSequence", *ROWS, "procedures", "activeProcedureState"])
def test_an_event_has_the_time_of_the_change(oet, name):
    uid = oet.run("good.py")
    oet.recorder.wait_for_end(uid)
    oet.settle()
    times = [event["time"] for event in oet.recorder.lifecycle(uid)]
    wait_until(lambda: abs(oet.recorder.events[name][-1].time - times[-1]) < 1e-4, 20, f"the last event of {name}")
    for event in list(oet.recorder.events[name]):
        if event.time < times[0] - 1e-4:
            continue  # what is pushed seldom may tell of the procedure before
        assert min(abs(event.time - time) for time in times) < 1e-4


def test_times_are_those_of_the_worker_and_in_order(oet):
    uid = oet.run("good.py")
    oet.recorder.wait_for_end(uid)
    times = [event["time"] for event in oet.recorder.lifecycle(uid)]
    assert times == sorted(times)
    assert times == [time for _, time in oet.summary(uid)["history"]["process_states"]]


def test_a_new_client_gets_the_current_values_first(oet):
    uid = oet.ready("good.py")
    newcomer = EventRecorder(tango.DeviceProxy(oet.url))
    try:
        assert list(newcomer.values("procedureIds")[0])[-1] == uid
        assert newcomer.values("activeProcedureId") == [uid]
        assert json.loads(newcomer.values("lifecycleEvent")[0])["process_uid"] == uid
        assert newcomer.values("healthState") == [0]
    finally:
        newcomer.close()


def test_before_the_first_event_there_is_an_empty_object(database, tmp_path):
    name = "mid-oet/subarray/empty"
    database.add_server("empty", {name: {"ScriptRoots": [SCRIPTS]}})
    server = Server(["empty", "-ORBendPoint", "giop:tcp:127.0.0.1:0"], tmp_path, database.host)
    try:
        oet = Oet(database, name, server)
        for attribute in ("lifecycleEvent", "scriptEvent"):
            assert json.loads(oet.proxy.read_attribute(attribute).value) == {}
            assert [json.loads(text) for text in oet.recorder.values(attribute)] == [{}]
        assert json.loads(oet.proxy.procedures) == []
        assert json.loads(oet.proxy.LifecycleEvents(0)) == json.loads(oet.proxy.ScriptEvents(0)) == []
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()
