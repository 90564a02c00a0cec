"""Threads: a Stop interrupts the main thread alone, so it tells the others."""

import threading
from concurrent.futures import ThreadPoolExecutor

from ska_oet_device.scripting import report_progress


def main(places=("M31", "M33", "M51", "M81"), dwell=1.0):
    stopping = threading.Event()
    with ThreadPoolExecutor(2) as pool:  # its end waits for the threads
        try:
            observations = [pool.submit(observe, place, dwell, stopping) for place in places]
            for observation in observations:
                observation.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # first: a thread that is told would begin the next
            stopping.set()


def observe(place, dwell, stopping):
    report_progress(0, f"observing {place}")
    if stopping.wait(dwell):  # instead of time.sleep(dwell)
        print(f"{place} broken off")
    else:
        print(f"{place} observed")
