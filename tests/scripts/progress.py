"""Reports how far it has come, over pypubsub."""

import time

from pubsub import pub


def main(percent=42.5, activity="pointing the dishes", seconds=0):
    pub.sendMessage("script.progress", percent=percent, activity=activity)
    time.sleep(seconds)


def silent(seconds=0):
    time.sleep(seconds)
