"""Publishes messages and reports of progress, in bursts, at a rate, or in the middle of a flood."""

import time

from pubsub import pub


def main(count=1, apart=0.0, topic="burst"):
    for number in range(count):
        pub.sendMessage(topic, number=number)
        time.sleep(apart)


def report(count=1, apart=0.0, flood=0):
    """Reports progress, with `flood` other messages between two reports."""
    for number in range(count):
        pub.sendMessage("script.progress", percent=float(number), activity=f"step {number}")
        for _ in range(flood):
            pub.sendMessage("flood")
        time.sleep(apart)
