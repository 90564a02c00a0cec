"""Fixtures that tests of several folders use."""

import os

# One length of the queue for all that this process subscribes to, whatever a server proposes: when ZeroMQ is given a
# shorter one than before, what it had connected until then may get no event any more (docs/decisions/0011).
os.environ["TANGO_EVENT_BUFFER_HWM"] = "1000"
# What is printed stands in buffers, as it does for users.
os.environ.pop("PYTHONUNBUFFERED", None)

pytest_plugins = tuple(
    f"support.{name}"
    for name in (
        "server_logs",
        "leaks",
        "mariadb",
        "databases",
        "loading",
        "preloaded",
        "durable",
        "bare",
        "up",
        "images",
    )
)
