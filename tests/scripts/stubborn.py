"""Catches whatever is raised, and goes on; says when it is about to."""

import time

from pubsub import pub


def main():
    while True:
        try:
            pub.sendMessage("armed")
            time.sleep(60)
        except BaseException:
            pass
