"""Sleeps until it is told to stop."""

import time


def main():
    """Sleep for a long time."""
    time.sleep(3600)
