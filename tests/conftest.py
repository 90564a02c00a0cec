"""Fixtures that tests of several folders use."""

import os

from hypothesis import settings

# The same examples each time, unless somebody goes looking for more of them.  The machine may be busy with something
# else: how long one example takes says nothing.  Here, since `given` takes the settings there are when it decorates.
_examples = int(os.environ.get("OET_HYPOTHESIS_EXAMPLES", "0"))
settings.register_profile(
    "busy machine", deadline=None, derandomize=not _examples, database=None, max_examples=_examples or 100
)
settings.load_profile("busy machine")

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
