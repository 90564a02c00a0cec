"""Ignores SIGTERM; says so by progress, so that whoever waits knows that it does."""

import signal
import time

from ska_oet_device.scripting import report_progress


def main():
    """Sleep, whatever anybody says."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    report_progress(1, "deaf")
    while True:
        time.sleep(60)
