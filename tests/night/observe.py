"""Observes a source: as long as it is let, since a picture is taken meanwhile."""

import threading

from ska_oet_device.scripting import report_progress


def main(source="J0437-4715", pointings=60, done=24):
    """Point `done` times, of `pointings`, and stay there."""
    for number in range(1, done + 1):
        print(f"pointing {number:2} of {pointings}: {source}, on source, rms {0.8 + number % 7 / 10:.1f} arcsec")
        report_progress(100 * number / pointings, f"pointing {number} of {pointings}: {source}")
    threading.Event().wait()
