"""Processes: `with` a multiprocessing.Pool ends its processes at once, at a Stop too."""

import multiprocessing
import time

from ska_oet_device.scripting import report_progress


def main(numbers=(1, 2, 3, 4), seconds=0.05, method="fork"):
    try:
        with multiprocessing.get_context(method).Pool(2) as pool:
            tasks = [(number, seconds) for number in numbers]
            for done, square in enumerate(pool.imap(work, tasks), 1):
                print(square)
                report_progress(100 * done / len(tasks), "computing")
    finally:
        print("pool closed")


def work(task):
    number, seconds = task
    time.sleep(seconds)
    return number * number
