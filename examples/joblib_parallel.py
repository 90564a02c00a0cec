"""joblib: its processes import the script's functions by their names."""

import time

from joblib import Parallel, delayed

from ska_oet_device.scripting import report_progress


def main(numbers=(1, 2, 3, 4), seconds=0.05):
    try:
        squares = Parallel(n_jobs=2, return_as="generator")(delayed(work)(number, seconds) for number in numbers)
        for done, square in enumerate(squares, 1):
            print(square)
            report_progress(100 * done / len(numbers), "computing")
    finally:
        print("pool closed")


def work(number, seconds):
    time.sleep(seconds)
    return number * number
