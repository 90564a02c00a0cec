"""Ignores SIGTERM, and says so."""

import signal
import time

from pubsub import pub


def main():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pub.sendMessage("armed")
    while True:
        time.sleep(60)
