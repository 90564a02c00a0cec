"""Publishes messages as fast as it can: a number of them, or until it is stopped."""

from pubsub import pub


def main(count=None):
    """Publish `count` small messages; for ever if there is no count."""
    number = 0
    while count is None or number < count:
        number += 1
        pub.sendMessage("flood", number=number)
