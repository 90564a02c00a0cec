"""An abort script: what follows when a procedure is stopped, here that the mount stands still.

The device runs it if the property AbortScript names it: ``file://abort.py``.
"""

import tango

mount_name = ""


def init(subarray_id):
    global mount_name
    mount_name = f"sim/mount/{subarray_id}"


def main():
    mount = tango.DeviceProxy(mount_name)
    mount.Halt()
    print(f"{mount_name} stands at azimuth {mount.azimuth:.1f}, elevation {mount.elevation:.1f}")
