"""Publishes as fast as it can: for ever, or a number of messages, or until it dies."""

from _endings import end
from pubsub import pub


def main(count=None, size=10, how="return"):
    number = 0
    while count is None or number < count:
        number += 1
        pub.sendMessage("flood", number=number, text="x" * size)
    end(how)
