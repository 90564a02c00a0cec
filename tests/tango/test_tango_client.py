"""Scripts that are Tango clients themselves, in forked processes, a hundred times."""

import pytest
from support.tango_server import TERMINAL


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_hundred_scripts_call_another_device_and_get_its_events(oet, other):
    waiting, done = [], {}
    for _ in range(100):
        waiting.append(oet.ready("tango_client.py"))
        if len(waiting) < 4:
            continue
        for uid in waiting:
            oet.start(uid, other.url)
            done[uid] = oet.recorder.wait_for_end(uid, 30)
        waiting.clear()
    assert len(done) == 100
    assert {end["state"] for end in done.values()} <= set(TERMINAL)
    failed = {uid: end for uid, end in done.items() if end["state"] != "COMPLETE"}
    assert failed == {}


def test_a_tango_client_script_is_stopped_like_any_other(oet, other, scratch):
    (scratch / "client_that_waits.py").write_text(
        "import time, tango\n\ndef main(device):\n    proxy = tango.DeviceProxy(device)\n"
        "    proxy.subscribe_event('State', tango.EventType.CHANGE_EVENT, lambda event: None)\n"
        "    while True:\n        proxy.state()\n        time.sleep(0.01)\n"
    )
    uid = oet.running("client_that_waits.py", other.url)
    oet.stop(uid)
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"


def test_a_script_may_call_its_own_device(oet, scratch):
    (scratch / "looks_in_the_mirror.py").write_text(
        "import json, time, tango\n\ndef main(device):\n    proxy = tango.DeviceProxy(device)\n"
        "    while proxy.State() != tango.DevState.RUNNING:  # the news of it travels while main begins\n"
        "        time.sleep(0.001)\n"
        "    assert json.loads(proxy.Summarise([proxy.activeProcedureId]))[0]['state'] == 'RUNNING'\n"
    )
    uid = oet.run("looks_in_the_mirror.py", oet.url)
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
