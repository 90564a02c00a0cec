"""Prints as it is told."""

import time


def main(lines=1, text="line", pause=0.0, end=0.0):
    for number in range(lines):
        print(f"{text} {number}", flush=True)
        time.sleep(pause)
    time.sleep(end)
