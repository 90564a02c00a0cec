"""Points at one place after the other."""

import time

from ska_oet_device.scripting import report_progress


def init(subarray_id):
    global subarray
    subarray = subarray_id


def main(places, dwell=1.0):
    try:
        for number, place in enumerate(places):
            report_progress(100 * number / len(places), f"observing {place}")
            time.sleep(dwell)
    finally:
        print("putting things back")  # also when the script is stopped
