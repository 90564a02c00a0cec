"""Takes long to be initialised."""

import time


def init(seconds=60):
    time.sleep(seconds)


def main():
    pass
