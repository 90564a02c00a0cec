"""pypubsub messages: from scripts to the device and to other scripts of the same device."""

import json
import time

from support.waiting import wait_until


def _messages(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_message_of_a_script_is_pushed(oet):
    before = time.time()
    uid = oet.run("says.py", "a.topic", number=1, text="Größe", deep={"a": [1, None]})
    event = oet.recorder.wait_for("scriptEvent", lambda text: "a.topic" in text)
    assert event.value.isascii()
    message = json.loads(event.value)
    assert before < message.pop("time") < time.time()
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
    assert len(messages) <= taken * 220 + 5


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


def test_progress_that_is_none_is_ignored(oet):
    uid = oet.running("progress.py", percent="much", activity="x", seconds=60)
    oet.recorder.wait_for("scriptEvent", lambda text: '"much"' in text)
    assert oet.proxy.read_attribute("activeProgress").quality.name == "ATTR_INVALID"
    assert oet.state(uid) == "RUNNING"
