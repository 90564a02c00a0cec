"""A Tango device that takes log lines, as the target ``device::`` of another device's log.

``python -m support.log_consumer INSTANCE FILE ARGUMENT...``: writes each message to the file.
"""

from __future__ import annotations

import sys

from tango.server import Device, command, run


class LogConsumer(Device):
    path = ""

    @command(dtype_in=(str,))
    def Log(self, details: list[str]) -> None:
        """Take a line: time, level, device, message, context, thread."""
        with open(self.path, "a") as log:
            print(details[1], details[2], details[3], file=log)


if __name__ == "__main__":
    LogConsumer.path = sys.argv[2]
    run([LogConsumer], args=["LogConsumer", sys.argv[1], *sys.argv[3:]])
