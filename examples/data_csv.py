"""A CSV file, row by row."""

import csv
import time

from whole_file import whole_file

from ska_oet_device.scripting import report_progress


def main(path, rows=10, dwell=0.01):
    with whole_file(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "power"])
        for row in range(rows):
            report_progress(100 * row / rows, f"row {row}")
            time.sleep(dwell)
            writer.writerow([row, row * 0.5])
