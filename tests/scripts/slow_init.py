"""Takes long to be initialised."""

import time


def init(seconds=60):
    time.sleep(seconds)


def main():
    pass


def nap(seconds=60):
    """A function that is not main."""
    time.sleep(seconds)
