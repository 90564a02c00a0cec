"""Sleeps, with and without something to tidy up."""

import time
from pathlib import Path

from pubsub import pub


def main(seconds=60):
    time.sleep(seconds)


def nap(seconds=60):
    """A function that is not main."""
    time.sleep(seconds)


def tidy(path):
    """Is interrupted in its sleep, and tidies up."""
    try:
        pub.sendMessage("armed")
        time.sleep(60)
    finally:
        Path(path).write_text("tidied")
