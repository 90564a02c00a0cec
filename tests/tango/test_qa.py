"""The operator's flag: written, remembered, given to scripts, and overridden once."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import tango
from support.processes import suspend
from support.tango_server import Server
from support.waiting import wait_until


def _context(path):
    return json.loads(path.read_text().splitlines()[-1])["context"]


def test_the_flag_is_given_to_scripts_as_it_is_when_they_are_called(oet, tmp_path):
    path = tmp_path / "calls"
    uid = oet.ready("record.py", str(path))
    try:
        for enabled in (True, False, True):
            oet.proxy.waitForQaReady = enabled
            assert oet.proxy.waitForQaReady == enabled
            oet.call(uid, str(path), fn="named")
            assert _context(path)["wait_for_qa_ready"] is enabled
    finally:
        oet.proxy.waitForQaReady = True


@pytest.mark.parametrize("forced", ["force_start", "Run"])
def test_one_that_was_asked_for_ahead_of_time_is_given_the_flag_as_it_is_when_it_is_called(
    oet, tmp_path, scratch, forced
):
    path, gate = tmp_path / "called", tmp_path / "go"
    source = (
        "import json, os, time\n"
        "def init(gate):\n"
        "    while not os.path.exists(gate):\n"
        "        time.sleep(0.01)\n"
        "def main(path, context):\n"
        "    with open(path, 'w') as file:\n"
        "        json.dump(context, file)\n"
    )
    (scratch / "waits_in_init.py").write_text(source)
    request = {
        "script": {"script_type": "filesystem", "script_uri": "file://waits_in_init.py"},
        "init_args": {"args": [str(gate)]},
    }
    run_args = {"args": [str(path)]}
    try:
        if forced == "Run":
            uid = json.loads(oet.proxy.Run(json.dumps({**request, "run_args": run_args})))["id"]
        else:
            uid = json.loads(oet.proxy.Prepare(json.dumps(request)))["id"]
            oet.proxy.Start(json.dumps({"process_uid": uid, "run_args": run_args, "force_start": True}))
        oet.recorder.wait_for_state(uid, "INITIALISING")
        oet.proxy.waitForQaReady = False
        gate.touch()
        assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
        assert json.loads(path.read_text())["wait_for_qa_ready"] is False
    finally:
        oet.proxy.waitForQaReady = True


def test_init_is_given_the_flag_as_it_is_after_loading(oet, tmp_path, scratch):
    path, gate = tmp_path / "called", tmp_path / "go"
    (scratch / "waits_at_import.py").write_text(
        "import json, os, time\n"
        f"while not os.path.exists({str(gate)!r}):\n"
        "    time.sleep(0.01)\n"
        "time.sleep(2)\n"  # what main has sent is read meanwhile
        "def init(context):\n"
        f"    with open({str(path)!r}, 'w') as file:\n"
        "        json.dump(context, file)\n"
        "main = print\n"
    )
    try:
        uid = oet.prepare("waits_at_import.py")
        oet.recorder.wait_for_state(uid, "LOADING")
        oet.proxy.waitForQaReady = False
        gate.touch()
        oet.recorder.wait_for_state(uid, "READY")
        assert json.loads(path.read_text())["wait_for_qa_ready"] is False
    finally:
        oet.proxy.waitForQaReady = True


def test_a_write_returns_when_main_which_calls_the_functions_has_the_flag(oet):
    def write():
        oet.proxy.waitForQaReady = False

    suspend(oet.server.pid)
    try:
        with ThreadPoolExecutor() as pool:
            began = time.monotonic()
            writing = pool.submit(write)
            time.sleep(0.3)
            is_done = writing.done()
            if time.monotonic() - began < 1.5:  # it waits for no longer than 2 s
                assert not is_done
            os.kill(oet.server.pid, signal.SIGCONT)
            writing.result(10)
    finally:
        os.kill(oet.server.pid, signal.SIGCONT)
        oet.proxy.waitForQaReady = True


def test_a_flag_that_is_written_right_before_the_start_counts(oet, tmp_path):
    path = tmp_path / "calls"
    uid = oet.ready("record.py", str(path))
    try:
        for number in range(20):
            oet.proxy.waitForQaReady = bool(number % 2)
            oet.call(uid, str(path), fn="named")
            assert _context(path)["wait_for_qa_ready"] is bool(number % 2)
    finally:
        oet.proxy.waitForQaReady = True


def test_a_change_of_the_flag_is_pushed(oet):
    try:
        oet.proxy.waitForQaReady = False
        oet.recorder.wait_for("waitForQaReady", lambda value: not value)
    finally:
        oet.proxy.waitForQaReady = True
    oet.recorder.wait_for("waitForQaReady", lambda value: value is True or value == 1)


def test_a_change_of_the_flag_reaches_running_scripts(oet, tmp_path):
    path = tmp_path / "messages"
    uid = oet.ready("listens.py", str(path))
    oet.start(uid)
    oet.recorder.wait_for_state(uid, "RUNNING")
    try:
        oet.proxy.waitForQaReady = False
        wait_until(lambda: path.exists() and "operator.override.state" in path.read_text(), 10, "the message")
    finally:
        oet.proxy.waitForQaReady = True
    messages = [json.loads(line) for line in path.read_text().splitlines()]
    (first, *_) = [message for message in messages if message["topic"] == "operator.override.state"]
    assert first["data"]["wait_for_qa_ready"] is False


def test_an_override_reaches_a_running_script(oet):
    uid = oet.running("waits_for_override.py")
    wait_until(lambda: oet.proxy.OverrideWaitForQaReady() or oet.state(uid) == "COMPLETE", 10, "the script went on")


def test_the_flag_is_remembered_over_a_restart_of_the_server(own_server, database, tmp_path):
    oet = own_server()
    oet.proxy.waitForQaReady = False
    wait_until(lambda: database.kept(oet.name, "waitForQaReady") == ["false"], 20, "the flag is kept")
    assert oet.server.stop() == 0
    instance = oet.name.rsplit("/", 1)[-1]
    second = Server([instance, "-ORBendPoint", "giop:tcp:127.0.0.1:0"], tmp_path / "second", database.host)
    oet.server = second
    try:
        oet.reconnect()
        assert not oet.proxy.waitForQaReady
        path = tmp_path / "calls"
        uid = json.loads(
            oet.proxy.Prepare(
                json.dumps(
                    {
                        "script": {"script_type": "filesystem", "script_uri": "file://record.py"},
                        "init_args": {"args": [str(path)]},
                    }
                )
            )
        )["id"]
        oet.recorder.wait_for_state(uid, "READY")
        assert json.loads(path.read_text())["kwargs"]["context"]["wait_for_qa_ready"] is False
        assert second.stop() == 0
    finally:
        second.clean_up()


def test_the_flag_survives_init(oet):
    try:
        oet.proxy.waitForQaReady = False
        oet.init()
        assert not oet.proxy.waitForQaReady
        assert oet.proxy.State() == tango.DevState.ON
    finally:
        oet.proxy.waitForQaReady = True


@pytest.mark.long
@pytest.mark.parametrize(("text", "flag"), [("false", False), ("No", False), ("1", True)])
def test_the_servers_environment_sets_the_first_value(own_server, text, flag):
    oet = own_server(environment={"OET_WAIT_FOR_QA_READY": text})
    assert oet.proxy.waitForQaReady is flag
    assert oet.proxy.State() == tango.DevState.ON
    oet.init()
    assert oet.proxy.waitForQaReady is flag
    oet.proxy.waitForQaReady = not flag
    oet.init()
    assert oet.proxy.waitForQaReady is not flag


@pytest.mark.long
def test_an_environment_that_says_no_truth_is_told_in_status(own_server):
    oet = own_server(environment={"OET_WAIT_FOR_QA_READY": "perhaps"})
    assert oet.proxy.waitForQaReady is True
    assert oet.proxy.State() == tango.DevState.ALARM
    assert "OET_WAIT_FOR_QA_READY: 'perhaps' is not true or false" in oet.proxy.Status()
