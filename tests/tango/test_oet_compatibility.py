"""Scripts of the SKA run as they are, where the property says so; the OET itself goes before what stands in for it."""

import json

import pytest
from support.tango_server import SCRIPTS, filesystem

from .conftest import script_messages


@pytest.fixture
def compatible(other):
    with other.properties(OetCompatibility=True):
        yield other


def _said(oet, uid):
    return [(message["topic"], message["kwargs"]) for message in script_messages(oet) if message["process_uid"] == uid]


def test_a_script_with_topics_of_the_oet_and_a_partial_main_runs_as_it_is(compatible):
    request = {"script": filesystem("ska_style.py"), "run_args": {"kwargs": {"scans": ["science_A"]}}}
    uid = json.loads(compatible.proxy.Run(json.dumps(request)))["id"]
    assert compatible.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    script = {"msg_src": "script"}
    assert _said(compatible, uid) == [
        ("subarray.resources.allocated", {**script, "subarray_id": 2}),
        ("sb.lifecycle.observation.started", {**script, "sb_id": "sbd-1"}),
        ("scan.lifecycle.configure.started", {**script, "sb_id": "sbd-1", "scan_id": "science_A"}),
        ("user.script.announce", {"msg_src": "MainThread", "msg": "scan science_A"}),
        ("sb.lifecycle.observation.finished.succeeded", {**script, "sb_id": "sbd-1"}),
        ("subarray.resources.deallocated", {**script, "subarray_id": 2}),
    ]


@pytest.mark.parametrize(("function", "name"), [("forgets_the_text", "msg"), ("says_too_much", "colour")])
def test_a_message_that_does_not_fit_its_topic_raises_as_with_the_oet(compatible, function, name):
    uid = compatible.ready("ska_style.py")
    compatible.start(uid, fn=function)
    end = compatible.recorder.wait_for_end(uid)
    assert end["state"] == "FAILED"
    assert "MsgDataError" in end["reason"]
    assert name in end["reason"]


def test_nobody_finds_it_who_does_not_ask_for_it(other):
    uid = other.prepare("ska_style.py")
    end = other.recorder.wait_for_end(uid)
    assert end["state"] == "FAILED"
    assert "No module named 'ska_oso_oet'" in end["reason"]


REAL = """
class user:
    class script:
        announce = "installed.announce"
"""
PROBE = """
from pubsub import pub
from ska_oso_oet.event import topics
def main():
    pub.sendMessage(topics.user.script.announce, msg="from the installed one")
"""


@pytest.mark.long
def test_the_oet_itself_goes_before_where_it_is_installed(own_server, tmp_path):
    event = tmp_path / "site" / "ska_oso_oet" / "event"
    event.mkdir(parents=True)
    (event.parent / "__init__.py").touch()
    (event / "__init__.py").touch()
    (event / "topics.py").write_text(REAL)
    (tmp_path / "probe.py").write_text(PROBE)
    oet = own_server(
        environment={"PYTHONPATH": str(tmp_path / "site")}, ScriptRoots=[SCRIPTS, str(tmp_path)], OetCompatibility=True
    )
    uid = oet.run("probe.py")
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert _said(oet, uid) == [("installed.announce", {"msg": "from the installed one"})]
