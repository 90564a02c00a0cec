"""Reports its progress."""

import os
import time

from pubsub import pub


def main(steps=4, pause=0.05, until=""):
    for step in range(1, steps + 1):
        pub.sendMessage("script.progress", percent=100.0 * step / steps, activity=f"step {step}")
        time.sleep(pause)
    while until and not os.path.exists(until):
        time.sleep(0.01)
