"""What a command waits for that goes on: what the device pushes, and the signals by which somebody ends the command.

Both come into one queue, so that nothing is interrupted half-way: not what is written, and no call of the device.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ..inbox import Inbox
from ._reach import listening
from ._shell import Shell


@dataclass(frozen=True)
class Interrupt:
    """A signal: SIGINT (Ctrl-C), SIGTERM, or SIGWINCH, when the terminal has another size."""

    number: int

    @property
    def ends(self) -> bool:
        """Whether somebody wants the command to end."""
        return self.number != signal.SIGWINCH

    @property
    def status(self) -> int:
        """The exit status of who is ended by it."""
        return 128 + self.number


Items = Inbox[Any]
"""LifecycleEvent, values of attributes, Interrupt."""


@contextlib.contextmanager
def attention(shell: Shell, *attributes: str) -> Iterator[Items]:
    """Yield a queue of what is pushed from now on, and of signals.

    :param attributes: of which values are wanted, beside the lifecycle events
    :raises UnreachableError: the device does not answer
    """
    items: Items = Inbox()
    with signals_into(items), listening(shell.client, items.put, *attributes):
        yield items


@contextlib.contextmanager
def signals_into(items: Items) -> Iterator[None]:
    """Put the signals into a queue instead of acting on them."""

    def put(number: int, frame: FrameType | None) -> None:
        items.put(Interrupt(number))

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is not signal.SIG_IGN:  # as nohup has it, and a shell for what runs in the background
            signal.signal(number, put)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
