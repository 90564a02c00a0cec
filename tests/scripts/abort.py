"""The second phase of a stop: wants to know which subarray."""

import time

_subarray = None


def init(subarray_id):
    global _subarray
    _subarray = subarray_id


def main():
    if _subarray is None:
        raise RuntimeError("no subarray was given")
    time.sleep(0.05)
