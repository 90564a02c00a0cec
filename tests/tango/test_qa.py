"""The operator's flag: written, remembered, given to scripts, and overridden once."""

import json

import tango
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
            assert _context(path) == {"wait_for_qa_ready": enabled}
    finally:
        oet.proxy.waitForQaReady = False


def test_a_change_of_the_flag_is_pushed(oet):
    try:
        oet.proxy.waitForQaReady = True
        oet.recorder.wait_for("waitForQaReady", lambda value: value is True or value == 1)
    finally:
        oet.proxy.waitForQaReady = False
    oet.recorder.wait_for("waitForQaReady", lambda value: not value)


def test_a_change_of_the_flag_reaches_running_scripts(oet, tmp_path):
    path = tmp_path / "messages"
    uid = oet.ready("listens.py", str(path))
    oet.start(uid)
    oet.recorder.wait_for_state(uid, "RUNNING")
    try:
        oet.proxy.waitForQaReady = True
        wait_until(lambda: path.exists() and "operator.override.state" in path.read_text(), 10, "the message")
    finally:
        oet.proxy.waitForQaReady = False
    messages = [json.loads(line) for line in path.read_text().splitlines()]
    (first, *_) = [message for message in messages if message["topic"] == "operator.override.state"]
    assert first["data"]["wait_for_qa_ready"] is True


def test_an_override_reaches_a_running_script(oet):
    uid = oet.running("waits_for_override.py")
    wait_until(lambda: oet.proxy.OverrideWaitForQaReady() or oet.state(uid) == "COMPLETE", 10, "the script went on")


def test_the_flag_is_remembered_over_a_restart_of_the_server(own_server, database, tmp_path):
    oet = own_server()
    oet.proxy.waitForQaReady = True
    assert oet.server.stop() == 0
    instance = oet.name.rsplit("/", 1)[-1]
    second = Server([instance, "-ORBendPoint", "giop:tcp:127.0.0.1:0"], tmp_path / "second", database.host)
    oet.server = second
    try:
        oet.reconnect()
        assert oet.proxy.waitForQaReady
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
        assert json.loads(path.read_text())["kwargs"]["context"] == {"wait_for_qa_ready": True}
        assert second.stop() == 0
    finally:
        second.clean_up()


def test_the_flag_survives_init(oet):
    try:
        oet.proxy.waitForQaReady = True
        oet.proxy.Init()
        assert oet.proxy.waitForQaReady
        assert oet.proxy.State() == tango.DevState.ON
    finally:
        oet.proxy.waitForQaReady = False
