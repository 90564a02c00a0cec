"""Writes down what it finds around itself."""

import json
import os
import sys
import threading


def main(path):
    found = {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "run_id": os.environ.get("SKA_OET_RUN_ID"),
        "argv": sys.argv,
    }
    with open(path, "w", encoding="ascii") as file:
        json.dump(found, file)
