"""Reaping in a loop as main does it: what one turn has no time for is collected in the next."""

from __future__ import annotations

import signal

from ska_oet_device.mptools import Children, EventLoop


def reap_in(loop: EventLoop, children: Children) -> None:
    """Have a loop collect the children of this process that end."""

    def reap() -> None:
        again = loop.call_later(0, reap)  # first, in case that it raises
        if not children.reap():
            again.cancel()

    loop.on_signal(signal.SIGCHLD, reap)
