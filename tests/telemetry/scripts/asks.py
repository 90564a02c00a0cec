"""Asks a device for something, logs that, and tells what a program that it starts finds in its environment."""

import logging
import os
import subprocess
import time

import tango


def init():
    logging.info("initialised")


def main(device, ending="well"):
    logging.info("asking %s", device)
    tango.DeviceProxy(device).command_inout("Summarise", [])
    subprocess.run(["sh", "-c", "echo child $TRACEPARENT"], check=True)
    print("here", os.environ["TRACEPARENT"])
    if ending == "late":
        time.sleep(600)
    if ending != "well":
        raise RuntimeError(f"it ends {ending}")
