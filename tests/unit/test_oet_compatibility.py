"""The topics of the OET that scripts find: each can be sent as a class, with what its specification demands."""

from __future__ import annotations

import json
import subprocess
import sys

from ska_oet_device.compatibility import FOLDER

SEND_ALL = f"""
import inspect, json, sys
sys.path.append({FOLDER!r})
from pubsub import pub
from pubsub.core import SenderMissingReqdMsgDataError, SenderUnknownMsgDataError
{{first}}
from ska_oso_oet.event import topics

sent, refused = {{{{}}}}, 0
def listener(topic=pub.AUTO_TOPIC, **data):
    sent[topic.getName()] = sorted(data)
pub.subscribe(listener, pub.ALL_TOPICS)

def send(topic):
    global refused
    spec = topic.__dict__.get("msgDataSpec")
    if spec is not None:
        needed = [name for name, each in inspect.signature(spec).parameters.items() if each.default is each.empty]
        for bad, error in (
            ({{{{}}}}, SenderMissingReqdMsgDataError),
            (dict.fromkeys([*needed, "colour"], 1), SenderUnknownMsgDataError),
        ):
            try:
                pub.sendMessage(topic, **bad)
            except error:
                refused += 1
        pub.sendMessage(topic, **dict.fromkeys(needed, 1))
    for each in vars(topic).values():
        if inspect.isclass(each):
            send(each)

for each in list(vars(topics).values()):
    if inspect.isclass(each):
        send(each)
print(json.dumps([sent, refused]))
"""


def sent(first: str = "") -> tuple[dict[str, list[str]], int]:
    """Return the topics that were sent with their data, and how many messages that did not fit were refused."""
    done = subprocess.run([sys.executable, "-c", SEND_ALL.format(first=first)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    topics, refused = json.loads(done.stdout)
    return topics, refused


def test_each_topic_takes_what_it_specifies_and_nothing_else() -> None:
    topics, refused = sent()
    assert len(topics) == 35
    assert refused == 2 * len(topics)
    assert topics["user.script.announce"] == ["msg", "msg_src"]
    assert topics["scan.lifecycle.end.failed"] == ["msg_src", "sb_id", "scan_id"]
    assert topics["sb.lifecycle.started"] == ["msg_src", "sbi_id"]
    assert topics["subarray.fault"] == ["error", "msg_src", "subarray_id"]


def test_beside_the_topics_of_this_program_it_is_the_same() -> None:
    assert sent("from ska_oet_device.event import define_script_topics; define_script_topics()") == sent()
