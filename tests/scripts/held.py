"""Goes on when a file is there, and not before: in init, in main, and while it tidies up."""

import time
from pathlib import Path

from pubsub import pub


def _wait_for(path):
    while path and not Path(path).exists():
        time.sleep(0.01)


def init(path=""):
    _wait_for(path)


def main(path=""):
    _wait_for(path)


def tidy(path):
    """Is interrupted in its sleep, and tidies up until the file is there."""
    try:
        pub.sendMessage("armed")
        time.sleep(60)
    finally:
        _wait_for(path)
