"""A NumPy array, written at the end: the end may be a Stop."""

import time

import numpy as np
from whole_file import whole_file

from ska_oet_device.scripting import report_progress


def main(path, rows=10, dwell=0.01):
    powers = []
    try:
        for row in range(rows):
            report_progress(100 * row / rows, f"row {row}")
            time.sleep(dwell)
            powers.append(row * 0.5)
    finally:
        with whole_file(path) as part:
            np.save(part, np.array(powers))
