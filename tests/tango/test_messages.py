"""pypubsub messages: from scripts to the device and to other scripts of the same device."""

import itertools
import json
import time

import pytest
import tango
from support.tango_server import reason_of
from support.waiting import wait_until

from .conftest import script_messages


def _messages(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_message_of_a_script_is_pushed(oet):
    before = time.time()
    uid = oet.run("says.py", "a.topic", number=1, text="Größe", deep={"a": [1, None]})
    event = oet.recorder.wait_for("scriptEvent", lambda text: "a.topic" in text)
    assert event.value.isascii()
    message = json.loads(event.value)
    assert before < message.pop("time") < time.time()
    assert message.pop("sequence") > 0
    assert message == {
        "process_uid": uid,
        "topic": "a.topic",
        "kwargs": {"number": 1, "text": "Größe", "deep": {"a": [1, None]}},
        "skipped": 0,
    }
    oet.recorder.wait_for_end(uid)
    assert oet.proxy.scriptEvent == event.value


def test_a_message_of_a_script_reaches_the_others_but_not_itself(oet, tmp_path):
    paths = [tmp_path / "first", tmp_path / "second"]
    for path in paths:
        oet.ready("listens.py", str(path))
    speaker = oet.ready("says.py")
    oet.start(speaker, "news", number=7, fn="say")
    for path in paths:
        wait_until(lambda path=path: _messages(path), 10, "the message")
        assert _messages(path) == [{"topic": "news", "data": {"number": 7}}]


def test_a_listener_does_not_echo_what_it_hears(oet, tmp_path):
    paths = [tmp_path / "first", tmp_path / "second"]
    for path in paths:
        oet.ready("listens.py", str(path))
    speaker = oet.ready("says.py")
    for number in range(3):
        oet.call(speaker, "news", number=number, fn="say")
    for path in paths:
        wait_until(lambda path=path: len(_messages(path)) >= 3, 10, "the messages")
        assert [message["data"]["number"] for message in _messages(path)] == [0, 1, 2]


def test_messages_of_another_device_are_not_heard(oet, other, tmp_path):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    oet.ready("listens.py", str(mine))
    other.ready("listens.py", str(theirs))
    speaker = other.ready("says.py")
    other.start(speaker, "news", number=1, fn="say")
    wait_until(lambda: _messages(theirs), 10, "the message")
    mine_speaker = oet.ready("says.py")
    oet.start(mine_speaker, "news", number=2, fn="say")
    wait_until(lambda: _messages(mine), 10, "the message")
    assert [message["data"]["number"] for message in _messages(mine)] == [2]
    assert [message["data"]["number"] for message in _messages(theirs)] == [1]
    assert not [text for text in oet.recorder.values("scriptEvent") if '"number": 1' in text]


def test_of_a_flood_200_a_second_are_pushed_and_the_rest_is_counted(oet):
    oet.recorder.clear()
    began = time.monotonic()
    uid = oet.run("flood_pubsub.py", count=20_000)
    assert oet.recorder.wait_for_end(uid, 30)["state"] == "COMPLETE"
    oet.recorder.wait_for("scriptEvent", lambda text: '"number": 20000,' in text)
    taken = time.monotonic() - began
    messages = [json.loads(text) for text in oet.recorder.values("scriptEvent")]
    assert sum(1 + message["skipped"] for message in messages) == 20_000
    numbers = [message["kwargs"]["number"] for message in messages]
    assert numbers == sorted(numbers)
    assert len(messages) <= 200 + taken * 220 + 5


def test_what_is_not_json_is_still_told(oet, scratch):
    (scratch / "odd.py").write_text(
        "import datetime\nfrom pubsub import pub\n\n"
        "class Odd:\n    def __repr__(self):\n        return 'an odd one'\n\n"
        "def main():\n    pub.sendMessage('odd', nan=float('nan'), when=datetime.date(2026, 1, 2), thing=Odd(),"
        " keys={1: 'a'}, raw=b'\\xff')\n"
    )
    uid = oet.run("odd.py")
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    text = oet.recorder.wait_for("scriptEvent", lambda text: '"odd"' in text).value
    told = json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))["kwargs"]
    assert told["nan"] == "nan"
    assert told["when"] == "2026-01-02"
    assert told["thing"] == "an odd one"
    assert told["keys"] == {"1": "a"}


HEAVY = """
import time
from pubsub import pub
from ska_oet_device.scripting import topics

def explode(leaf):
    value = [leaf]
    for _ in range(36):
        value = [value, value]
    return value

def main(kind):
    progress = topics.script.progress.__qualname__
    said = {
        "explosion": lambda: pub.sendMessage("heavy", value=explode(1)),
        "explosion of NaN": lambda: pub.sendMessage("heavy", value=explode(float("nan"))),
        "explosion as progress": lambda: pub.sendMessage(progress, percent=1, activity=explode(1)),
        "a million keys": lambda: pub.sendMessage("heavy", value=dict.fromkeys(range(1_000_000))),
        "a million numbers": lambda: pub.sendMessage("heavy", value=list(range(1_000_000))),
        "a megabyte": lambda: pub.sendMessage("heavy", value=list(range(130_000))),
        "many lists": lambda: pub.sendMessage("heavy", value=[[]] * 49_000),
        "a long activity": lambda: pub.sendMessage(progress, percent=1, activity="x" * 900_000),
    }[kind]
    while True:
        said()
        time.sleep(0.2)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "is_told"),
    [
        ("explosion", False),
        ("explosion of NaN", False),
        ("explosion as progress", False),
        ("a million keys", False),
        ("a million numbers", False),
        ("a megabyte", True),
        ("many lists", True),
        ("a long activity", True),
    ],
)
def test_heavy_messages_keep_nobody_waiting(oet, scratch, kind, is_told):
    (scratch / "heavy.py").write_text(HEAVY)
    oet.recorder.clear()
    uid = oet.running("heavy.py", kind=kind)
    pushed = oet.recorder.wait_for("scriptEvent", lambda text: f'"process_uid": {uid},' in text).value
    times = []
    for _ in range(150):
        began = time.monotonic()
        oet.proxy.state()
        times.append(time.monotonic() - began)
        time.sleep(0.01)
    assert sorted(times)[len(times) // 2] < 0.1  # less than a millisecond, on a machine that has nothing else to do
    kept = json.loads(oet.proxy.ScriptEvents(json.loads(pushed)["sequence"] - 1))
    assert (kept[0]["kwargs"] is not None) == is_told
    assert len(oet.proxy.activeActivity or "") <= 1000
    oet.stop(uid)
    assert oet.recorder.wait_for_end(uid, 60)["state"] == "STOPPED"


@pytest.mark.parametrize("percent", ["much", 150, -3, "nan", "inf", 100.0001, 10**400])
def test_progress_that_is_none_is_ignored(oet, percent):
    uid = oet.running("progress.py", percent=percent, activity="none at all", seconds=60)
    oet.recorder.wait_for("scriptEvent", lambda text: '"none at all"' in text)
    assert oet.proxy.read_attribute("activeProgress").quality.name == "ATTR_INVALID"
    assert oet.state(uid) == "RUNNING"


def rested(oet):
    """Wait until the bucket is full again: what others published has come in by now, and it takes a second to fill."""
    time.sleep(1.1)
    oet.recorder.clear()


def pushed(oet, topic="burst"):
    messages = [json.loads(text) for text in oet.recorder.values("scriptEvent")]
    return [message for message in messages if message.get("topic") == topic]


def numbers_of(messages):
    return [message["kwargs"]["number"] for message in messages]


@pytest.mark.parametrize("count", [2, 3, 200])
def test_a_burst_is_pushed_whole(oet, count):
    rested(oet)
    uid = oet.run("bursts.py", count)
    oet.recorder.wait_for_end(uid)
    wait_until(lambda: len(pushed(oet)) >= count, 10, "all messages")
    messages = pushed(oet)
    assert numbers_of(messages) == list(range(count))
    assert {message["skipped"] for message in messages} == {0}
    first = messages[0]["sequence"]
    assert [message["sequence"] for message in messages] == list(range(first, first + count))


def test_of_a_longer_burst_the_first_200_and_the_last_are_pushed_and_all_are_kept(oet):
    rested(oet)
    uid = oet.run("bursts.py", 250)
    oet.recorder.wait_for_end(uid)
    wait_until(lambda: 249 in numbers_of(pushed(oet)), 10, "the last message")
    messages = pushed(oet)
    assert numbers_of(messages)[:200] == list(range(200))
    assert sum(1 + message["skipped"] for message in messages) == 250
    for before, after in itertools.pairwise(messages):
        assert after["sequence"] == before["sequence"] + 1 + after["skipped"]
    kept = script_messages(oet, messages[0]["sequence"] - 1)
    assert numbers_of(kept) == list(range(250))
    assert json.loads(oet.proxy.ScriptEvents(kept[-1]["sequence"])) == []


def test_below_200_a_second_no_message_is_lost(oet):
    rested(oet)
    uid = oet.run("bursts.py", 200, apart=0.01)
    oet.recorder.wait_for_end(uid)
    wait_until(lambda: 199 in numbers_of(pushed(oet)), 10, "the last message")
    assert numbers_of(pushed(oet)) == list(range(200))


def test_each_report_of_progress_is_an_event_though_they_come_a_millisecond_apart(oet):
    rested(oet)
    uid = oet.run("bursts.py", fn="report", count=100, apart=0.001)
    oet.recorder.wait_for("activeProgress", lambda percent: percent == 99.0)
    oet.recorder.wait_for("activeActivity", lambda activity: activity == "step 99")
    reported = [event for event in oet.recorder.events["activeProgress"] if event.quality.name == "ATTR_VALID"]
    assert [event.value for event in reported] == [float(number) for number in range(100)]
    assert [text for text in oet.recorder.values("activeActivity") if text] == [f"step {n}" for n in range(100)]
    oet.stop(uid)


def test_reports_of_progress_get_through_a_flood_of_other_messages(oet):
    rested(oet)
    uid = oet.run("bursts.py", fn="report", count=40, flood=1000)
    oet.recorder.wait_for("activeProgress", lambda percent: percent == 39.0)
    reported = [event.value for event in oet.recorder.events["activeProgress"] if event.quality.name == "ATTR_VALID"]
    assert reported == [float(number) for number in range(40)]
    oet.stop(uid)


@pytest.mark.long
def test_what_a_script_says_is_told_between_the_changes_that_it_was_said_between(oet):
    rested(oet)
    for _ in range(20):
        oet.recorder.clear()
        uid = oet.run("bursts.py", fn="report", count=3)
        wait_until(lambda uid=uid: oet.recorder.states(uid)[-2:] == ["RUNNING", "READY"], 10, "it has returned")
        oet.settle()
        order = [_what(name, event.value, uid) for name, event in list(oet.recorder.arrivals)]
        told = [what for what in order if what in ("RUNNING", "READY", "message", "activeProgress")][-8:]
        assert told[0] == "RUNNING"
        assert told[-1] == "READY"
        assert sorted(told[1:-1]) == ["activeProgress"] * 3 + ["message"] * 3
        oet.stop(uid)
        oet.recorder.wait_for_end(uid)


def _what(name, value, uid):
    """Return what an event tells of a procedure; nothing if it is about another one."""
    if name == "activeProgress":
        return name
    told = json.loads(value) if name in ("lifecycleEvent", "scriptEvent") else {}
    if told.get("process_uid") != uid:
        return ""
    return told["state"] if name == "lifecycleEvent" else "message"


def test_progress_of_a_procedure_is_not_shown_for_the_next_one(oet):
    first = oet.run("bursts.py", fn="report", count=3)
    oet.recorder.wait_for("activeProgress", lambda percent: percent == 2.0)
    oet.stop(first)
    oet.recorder.wait_for_end(first)
    assert oet.proxy.activeProgress == 2.0  # it is the active one still
    oet.recorder.clear()
    second = oet.ready("good.py")
    oet.settle()
    assert oet.proxy.read_attribute("activeProgress").quality.name == "ATTR_INVALID"
    assert {event.quality.name for event in oet.recorder.events["activeProgress"]} == {"ATTR_INVALID"}
    oet.stop(second)


def test_a_number_that_is_negative_is_refused(oet):
    with pytest.raises(tango.DevFailed) as caught:
        oet.proxy.ScriptEvents(-1)
    assert reason_of(caught.value)[0] == "OET_InvalidArgument"


@pytest.mark.long
@pytest.mark.timeout(180)
def test_the_numbers_go_on_when_the_device_server_is_started_anew(own_server):
    oet = own_server()
    newest = 0
    for _ in range(2):
        uid = oet.run("bursts.py", 3)
        oet.recorder.wait_for_end(uid)
        wait_until(lambda: len(script_messages(oet)) == 3, 20, "all three are kept")
        first, second, third = script_messages(oet)
        assert newest < first["sequence"]
        assert [second["sequence"], third["sequence"]] == [first["sequence"] + 1, first["sequence"] + 2]
        newest = third["sequence"]
        wait_until(lambda third=third: json.loads(oet.proxy.scriptEvent) == third, 20, "the newest is pushed")
        old = oet.server.device_server()
        old.kill()
        wait_until(lambda old=old: _is_replaced(oet, old.pid), 60, "another device server answers")
        oet.reconnect()
        assert oet.proxy.scriptEvent == "{}"
        assert json.loads(oet.proxy.ScriptEvents(newest)) == []


def _is_replaced(oet, pid):
    try:
        return oet.server.device_server().pid != pid and oet.proxy.state() == tango.DevState.ON
    except (tango.DevFailed, AssertionError):
        return False
