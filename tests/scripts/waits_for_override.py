"""Waits until the operator says that it may go on."""

import threading

from pubsub import pub


def main():
    overridden = threading.Event()

    def listener(msg_src):
        overridden.set()

    pub.subscribe(listener, "operator.wait_for_qa_ready.override")
    if not overridden.wait(30):
        raise TimeoutError("nobody overrode")
