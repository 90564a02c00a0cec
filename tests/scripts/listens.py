"""Writes down every message that reaches it: a line of JSON a message."""

import json
import time

from pubsub import pub

_path = None


def _note(topic=pub.AUTO_TOPIC, **data):
    with open(_path, "a", encoding="ascii") as file:
        file.write(json.dumps({"topic": topic.getName(), "data": data}, default=repr) + "\n")


def init(path):
    global _path
    _path = path
    pub.subscribe(_note, pub.ALL_TOPICS)


def main(seconds=60):
    time.sleep(seconds)
