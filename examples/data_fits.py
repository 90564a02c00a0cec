"""A FITS table, written at the end: the end may be a Stop."""

import time

from astropy.table import Table
from whole_file import whole_file

from ska_oet_device.scripting import report_progress


def main(path, rows=10, dwell=0.01):
    table = Table(names=("row", "power"), dtype=("i4", "f8"))
    try:
        for row in range(rows):
            report_progress(100 * row / rows, f"row {row}")
            time.sleep(dwell)
            table.add_row((row, row * 0.5))
    finally:
        with whole_file(path) as part:
            table.write(part, format="fits")
