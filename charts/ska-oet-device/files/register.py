"""Registers the servers in the Tango database, and has the devices that are up read their properties.

Run by the registration Job, with the file for json2tango as its argument.  Init is called whether or not anything has
changed now: a Job that was interrupted behind json2tango is tried again, and finds nothing to change.
"""

import json
import subprocess
import sys
import time

import tango

PAUSE = 2.0  # seconds between two looks at a database that does not answer
PATIENCE = 30_000  # ms for Init, which waits some seconds for a database that hangs
CHANGED = 2  # what json2tango ends with when it has written something
NOT_UP = ("API_CantConnectToDevice", "API_DeviceNotExported", "API_ServerNotRunning")


def main(path):
    """Return the exit status."""
    with open(path) as file:
        servers = json.load(file)["servers"]["OetDevice"]
    devices = [device for classes in servers.values() for device in classes["OetDevice"]]
    wait_for_database()
    done = subprocess.run(["json2tango", "--write", "--update", path])
    if done.returncode not in (0, CHANGED):
        print(f"json2tango has ended with {done.returncode}", flush=True)
        return 1
    taken = [initialise(device) for device in devices]  # each of them, whatever becomes of the others
    return int(not all(taken))


def wait_for_database():
    """Return when the database answers; the Job's own deadline ends this otherwise."""
    told = ""
    while True:
        try:
            tango.Database().get_info()
        except tango.DevFailed as error:
            if told != (told := error.args[0].desc):
                print(f"the Tango database does not answer yet: {told}", flush=True)
            time.sleep(PAUSE)
        else:
            return


def initialise(device):
    """Have a device read its properties if it is up; return whether nothing is wrong."""
    try:
        proxy = tango.DeviceProxy(device)
        proxy.ping()
    except tango.DevFailed as error:
        print(f"{device} is not up, and will read its properties when it starts: {error.args[-1].desc}", flush=True)
        return True
    try:
        proxy.set_timeout_millis(PATIENCE)
        proxy.Init()
    except tango.DevFailed as error:
        print(f"{device} has not taken its properties: {error.args[0].desc}", flush=True)
        return any(item.reason in NOT_UP for item in error.args)
    print(f"{device} has read its properties; what runs goes on", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
