"""The smallest useful script: says hello, and how far it has come."""

import time

from ska_oet_device.scripting import report_progress

subarray = 0


def init(subarray_id=1):
    global subarray
    subarray = subarray_id


def main(name="world", seconds=0.5):
    report_progress(0, "taking a breath")
    time.sleep(seconds)
    print(f"Hello {name}, from subarray {subarray}")
    report_progress(100, "done")
