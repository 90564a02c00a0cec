"""Is initialised when there is a file."""

import os
import time


def init(path):
    while not os.path.exists(path):
        time.sleep(0.01)


def main():
    pass


def nap(seconds):
    """A function that is not main."""
    time.sleep(seconds)
