"""Publishes one message."""

from pubsub import pub


def main(topic="a.topic", **data):
    data.pop("context", None)
    pub.sendMessage(topic, **data)


say = main
