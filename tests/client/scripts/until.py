"""Runs until there is a file."""

import os
import time


def main(path):
    print("begun", flush=True)
    while not os.path.exists(path):
        time.sleep(0.01)
    print("ended", flush=True)
