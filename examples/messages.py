"""Messages: tells others of a calibration, and waits until an operator wants the script to go on."""

import threading

from pubsub import pub

from ska_oet_device.scripting import report_progress, topics

may_go_on = threading.Event()


def go_on(msg_src):  # who asked
    may_go_on.set()


def main(context):
    pub.subscribe(go_on, topics.operator.wait_for_qa_ready.override.__qualname__)  # keep a reference to go_on
    pub.sendMessage("calibration.done", source="3C48")
    if context["wait_for_qa_ready"]:
        report_progress(50, "waiting for an operator")
        may_go_on.wait()
    print("observing")
