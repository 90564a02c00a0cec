"""Leaves a thread running that is no daemon; it ends a little later, or never."""

import threading
import time
from pathlib import Path


def _work(path, seconds):
    time.sleep(seconds)
    Path(path).write_text("the thread has ended")


def main(path, seconds=0.1):
    threading.Thread(target=_work, args=(path, seconds)).start()
