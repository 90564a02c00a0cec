"""An HDF5 file with a data set that grows row by row."""

import time

import h5py
from whole_file import whole_file

from ska_oet_device.scripting import report_progress


def main(path, rows=10, dwell=0.01):
    with whole_file(path) as part, h5py.File(part, "w") as file:
        powers = file.create_dataset("power", (0,), maxshape=(None,), dtype="f8")
        for row in range(rows):
            report_progress(100 * row / rows, f"row {row}")
            time.sleep(dwell)
            powers.resize((row + 1,))
            powers[row] = row * 0.5
