"""Publishes one message."""

from pubsub import pub


def main(topic="a.topic", **data):
    pub.sendMessage(topic, **data)


say = main
