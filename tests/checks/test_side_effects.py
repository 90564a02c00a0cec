"""A check changes nothing of the procedures, disturbs nobody, and leaves nothing behind."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path

import psutil
import pytest
import tango
from support.audit import requests_since
from support.checks import asked, checked, report_of, steps_of
from support.tango_server import EventRecorder, filesystem, is_alive, reason_of
from support.waiting import wait_until

MAIN = "\ndef main():\n    pass\n"


def standing(oet):
    """Return all that clients see of a device but what checks are to change, and the list of what lies in folders."""
    others = ("checkReport", "waitForQaReady", "availableScripts")
    names = [name for name in oet.proxy.get_attribute_list() if name not in others]
    seen = {name: str(oet.proxy.read_attribute(name).value) for name in names}
    return {
        **seen,
        "events": oet.proxy.LifecycleEvents(0),
        "summaries": oet.summaries(),
        "history": oet.proxy.History("{}"),
    }


def test_checks_change_nothing_of_the_procedures(oet, script):
    raises = script("1 / 0" + MAIN)
    oet.recorder.wait_for_end(oet.run("good.py"))
    running = oet.ready("sleepy.py")
    oet.start(running)
    oet.recorder.wait_for_state(running, "RUNNING")
    before = standing(oet)
    began = psutil.Process(oet.summary(running)["os_pid"]).create_time()
    for number in range(20):
        report = checked(oet, raises if number % 2 else "good.py")
        assert report["ok"] is (number % 2 == 0)
    assert standing(oet) == before
    assert psutil.Process(oet.summary(running)["os_pid"]).create_time() == began
    assert oet.ready("good.py") == max(oet.proxy.procedureIds[:-1]) + 1
    assert oet.recorder.lifecycle()[-1]["sequence"] == oet.proxy.lifecycleSequence


def test_no_spare_worker_is_taken(oet):
    def spares():
        return {process.pid for process in oet.server.spares()}

    def settled():
        found = spares()
        time.sleep(1)  # a look at the health has one more made, and then the oldest ended
        return found if len(found) == 2 and spares() == found else set()

    before = wait_until(settled, 20, "two spares")
    for _ in range(5):
        assert checked(oet, "good.py")["ok"]
    assert spares() == before


FORKS = """
import os, subprocess, time
pid = os.fork()
if pid == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.setsid()
    open({path!r} + "-daemon", "w").write(str(os.getpid()))
    os.execve("/bin/sleep", ["a-daemon", "300"], {{}})
os.waitpid(pid, 0)
child = subprocess.Popen(["sleep", "300"])
open({path!r} + "-child", "w").write(str(child.pid))
while not all(os.path.exists({path!r} + kind) and os.path.getsize({path!r} + kind) for kind in ("-daemon", "-child")):
    time.sleep(0.002)
{then}
def main():
    pass
"""


@pytest.mark.parametrize("then", ["", "os._exit(4)", "raise ValueError()"], ids=str)
def test_what_an_import_has_started_is_killed_and_told(oet, script, tmp_path, then):
    see_that_it_is_killed(oet, script, str(tmp_path / "pid"), then)


@pytest.mark.long
def test_what_an_import_that_does_not_end_has_started_is_killed_and_told(oet, script, impatient, tmp_path):
    with impatient(10):
        see_that_it_is_killed(oet, script, str(tmp_path / "pid"), "time.sleep(60)")


def see_that_it_is_killed(oet, script, path, then):
    report = checked(oet, script(FORKS.format(path=path, then=then)))
    pids = [int(Path(path + kind).read_text()) for kind in ("-daemon", "-child")]
    assert not any(map(is_alive, pids))  # when the report is there
    assert report["ok"] is not bool(then)
    reason = next(step["reason"] for step in report["steps"] if step["step"] == "imports")
    assert "what it had started was killed: process" in reason
    assert str(pids[0]) in reason  # the other one, in the worker's own group, may be dead before anybody looks
    assert not oet.server.workers()


def test_an_import_that_forks_and_forks_leaves_nothing(oet, script):
    name = script("import os, time\nfor _ in range(6):\n    os.fork()\ntime.sleep(0.2)" + MAIN)
    report = checked(oet, name)
    assert steps_of(report)["imports"] is True
    assert not oet.server.workers()


def test_an_exit_function_of_a_script_that_is_only_checked_is_not_run(oet, script, tmp_path):
    name = script(f"import atexit\natexit.register(open, {str(tmp_path / 'ran')!r}, 'w')" + MAIN)
    assert checked(oet, name)["ok"]
    assert not oet.server.workers()
    assert not (tmp_path / "ran").exists()


def test_a_thread_of_the_import_does_not_hold_a_check_up(oet, script):
    name = script("import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()" + MAIN)
    assert checked(oet, name, seconds=30)["ok"]


def test_what_an_import_publishes_is_heard_by_nobody(oet, script):
    oet.recorder.clear()
    name = script("from ska_oet_device import scripting\nscripting.report_progress(50, 'checked')" + MAIN)
    report = checked(oet, name)
    assert report["ok"], report
    assert checked(oet, "good.py")["ok"]
    assert not oet.recorder.values("scriptEvent")
    assert "checked" not in oet.recorder.values("activeActivity")


@pytest.mark.parametrize("kind", ["CHANGE_EVENT", "ARCHIVE_EVENT", "ALARM_EVENT"])
def test_a_report_is_an_event(oet, kind):
    recorder = EventRecorder(oet.proxy, ("checkReport",), getattr(tango.EventType, kind))
    try:
        first = asked(oet, "good.py")  # Tango may still be making the connection: what stands is pushed once more
        recorder.wait_for("checkReport", lambda value: json.loads(value).get("check_id") == first)
        ids = [asked(oet, "good.py") for _ in range(3)]
        for check_id in ids:
            event = recorder.wait_for(
                "checkReport", lambda value, wanted=check_id: json.loads(value).get("check_id") == wanted
            )
            assert json.loads(event.value) == report_of(oet, check_id)
            assert abs(event.time - time.time()) < 30
        told = oet.proxy.read_attribute("checkReport").value
        assert told == recorder.latest["checkReport"]  # of two at once the second may be complete first
    finally:
        recorder.close()


def test_a_check_is_answered_at_once_and_reported_when_it_is_done(oet, script, tmp_path):
    gate = tmp_path / "gate"
    check_id = asked(
        oet, script(f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\n{MAIN}")
    )
    assert json.loads(oet.proxy.CheckReport(check_id)) == {"check_id": check_id, "complete": False}
    gate.touch()
    assert report_of(oet, check_id)["ok"]


def test_more_checks_than_run_at_once_wait_for_their_turn(oet, script, tmp_path):
    marks = tmp_path / "marks"
    marking = f"import time\nfor mark in '+-':\n    open({str(marks)!r}, 'a').write(mark)\n    time.sleep(0.3)"
    ids = [asked(oet, script(marking + MAIN)) for _ in range(4)]
    while not all(json.loads(oet.proxy.CheckReport(check_id))["complete"] for check_id in ids):
        assert len(oet.server.workers()) <= 2
    # As the scripts tell it: on a busy machine nobody may have looked while they were loaded.
    at_once = list(itertools.accumulate(1 if mark == "+" else -1 for mark in marks.read_text()))
    assert len(at_once) == 8
    assert max(at_once) <= 2
    assert [report_of(oet, check_id)["ok"] for check_id in ids] == [True] * 4


def test_each_check_is_in_the_audit(oet):
    request = {"script": filesystem("good.py"), "user": "anna"}
    began = time.time()
    check_id = json.loads(oet.proxy.Check(json.dumps(request)))["check_id"]
    (entry,) = requests_since(oet.proxy, began)
    assert (entry["command"], entry["user"], entry["process_uid"]) == ("Check", "anna", 0)
    assert entry["answer"] == f"accepted; check {check_id} of file://good.py"
    report_of(oet, check_id)


@pytest.mark.parametrize(
    ("argument", "mention"),
    [
        ("", "good"),
        ("{", ""),
        ('{"script": 3}', "script"),
        ('{"fn_name": "main"}', "script"),
        ("good.py", "file://good.py"),
    ],
)
def test_what_is_no_request_is_refused(oet, argument, mention):
    with pytest.raises(tango.DevFailed) as caught:
        oet.proxy.Check(argument)
    reason, description = reason_of(caught.value)
    assert reason == "OET_InvalidArgument"
    assert mention in description or mention == "good"


def test_an_unknown_check_is_refused_and_each_device_has_its_own(oet, other):
    check_id = asked(oet, "good.py")
    report_of(oet, check_id)
    for proxy, number, mention in (
        (oet.proxy, check_id + 1, "there is no check"),
        (oet.proxy, 0, "there is no check"),
        (oet.proxy, 5, "an earlier device server took it along"),
        (other.proxy, check_id + 100_000_000, "there is no check"),
    ):
        with pytest.raises(tango.DevFailed) as caught:
            proxy.CheckReport(number)
        reason, description = reason_of(caught.value)
        assert reason == "OET_UnknownCheck"
        assert mention in description
    assert checked(other, "good.py")["ok"]

    def newest() -> int:
        return json.loads(oet.proxy.read_attribute("checkReport").value)["check_id"]

    wait_until(lambda: newest() == check_id, 20, "checkReport has it, which the thread of events sets")


def test_init_lets_checks_go_on(oet, script):
    check_id = asked(oet, script("import time\ntime.sleep(0.5)" + MAIN))
    oet.proxy.Init()
    assert report_of(oet, check_id)["ok"]


def test_a_script_hears_that_it_is_no_procedure(oet, script):
    name = script(
        "import os\nfrom ska_oet_device.scripting import this_run\n"
        "assert this_run().process_uid == 0 and os.environ['SKA_OET_PROCESS_UID'] == '0'\n"
        "assert this_run().subarray_id == 4" + MAIN
    )
    report = checked(oet, name)
    assert report["ok"], report
    assert os.environ.get("SKA_OET_PROCESS_UID") is None
