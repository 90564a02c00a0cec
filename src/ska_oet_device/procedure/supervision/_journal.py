"""What main has to say to the device server: kept until it is known to be recorded there.

The device server process may die and be started again; what happened meanwhile waits here, in memory.  That is
bounded: nothing is asked for while there is no device server, and unasked a procedure enters a state once or twice.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Callable, Iterable

from ...mptools import Channel, FrameReader
from ..messages import Announcement, CaughtUp, CheckDone, DelayMessage, from_payload, to_frame

_log = logging.getLogger(__name__)

# Bytes waiting for the device server, beyond which scripts have to wait.  A change of state waits behind them: of small
# messages these are some thousands, which take the device server some ten microseconds each.
_CONGESTED = 256 * 1024
# Bytes, beyond which what a script says is dropped that does not wait since it is ending.  The question whether the
# device server lives waits behind them, too: if that took long, it would be killed as one that hangs.
_FULL = 1024 * 1024


class Journal:
    """Numbers the announcements, sends them, and sends them again to a new device server."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, bytes]] = deque()
        self._number = 0
        self._has_dropped = False
        self._channel: Channel | None = None
        self._after_send: Callable[[], None] = lambda: None
        self.on_all_heard: Callable[[], None] = lambda: None

    def repeat(self, announcements: Iterable[Announcement]) -> None:
        """Announce, under numbers of our own, what an earlier main could tell nobody."""
        for announcement in announcements:
            self.announce(announcement)

    def connect(self, channel: Channel, after_send: Callable[[], None]) -> None:
        """Speak over `channel` from now on, beginning with everything that was not acknowledged."""
        self._channel, self._after_send = channel, after_send
        for _, frame in self._entries:
            self.send(frame)
        self.send(to_frame(CaughtUp()))

    def disconnect(self) -> None:
        """Keep everything: nobody listens."""
        self._channel = None

    def acknowledge(self, number: int) -> None:
        """Forget the announcements up to this number."""
        while self._entries and self._entries[0][0] <= number:
            self._entries.popleft()
        if not self._entries:
            self.on_all_heard()

    @property
    def has_unheard(self) -> bool:
        """Whether something is not known to be recorded."""
        return bool(self._entries)

    def unheard(self) -> list[Announcement]:
        """Return what is not known to be recorded, oldest first."""
        return [from_payload(bytes(FrameReader().feed(frame)[0].payload)) for _, frame in self._entries]

    def send(self, frame: bytes) -> None:
        """Send a frame that need not be kept."""
        if self._channel is not None:
            self._channel.send(frame)
            self._after_send()

    def tell(self, message: DelayMessage | CheckDone) -> None:
        """Tell what need not be kept."""
        self.send(to_frame(message))

    def announce(self, announcement: Announcement) -> None:
        """Tell what has happened to a procedure, under the next number."""
        self._number += 1
        frame = to_frame(dataclasses.replace(announcement, number=self._number))
        self._entries.append((self._number, frame))
        self.send(frame)

    def pubsub(self, frame: bytes, *, waits: bool = True) -> bool:
        """Pass a script's message on; False if the device server takes no more for now.

        :param waits: whether the script waits then; what one says that does not may be dropped
        """
        if not waits and self._channel is not None and self._channel.pending > _FULL:
            if not self._has_dropped:
                _log.error("the device server is slow to read: messages of scripts that are ending are dropped")
            self._has_dropped = True
            return False
        self.send(frame)
        return not self.congested

    @property
    def congested(self) -> bool:
        return self._channel is not None and self._channel.pending > _CONGESTED
