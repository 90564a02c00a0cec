"""Log lines in the SKA's standard format, on standard output of the process.

``1|2026-11-22T23:12:37.526Z|INFO|MainThread|function|file.py#1|tags|message``: version of the
format, UTC time, severity, thread, function, file and line, tags, message.

Whoever reads the log may stop reading: no process of the server waits for that.  Main, which has
one thread, drops what cannot be written at once; the device server has a thread that writes.
Either says later how much was dropped.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

LONGEST_LINE = 4096
"""Bytes of a line: what a pipe takes as a whole (PIPE_BUF), so that lines of two processes do not mix."""

_LONGEST_TEXT = 2048  # characters of a message
_MOST_WAITING = 10_000  # records that wait to be written
_PATIENCE = 1.0  # seconds that the thread which writes waits for a reader; then it drops until one comes back
_LOOK_AGAIN = 0.02  # seconds between two looks whether somebody reads again
_LAST_WORDS = 1.0  # seconds for what still waits when the process ends
_OURS = "ska_oet_device"
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "|": r"\x7c"}

Deliver = Callable[[logging.LogRecord, str], None]


def about(device: str, process_uid: int = 0, run_id: str = "", trace: str = "") -> dict[str, Any]:
    """Return what a record's `extra` says of whom it concerns: a device, maybe one of its procedures, and a trace."""
    tags = f"tango-device:{device}" if device else ""
    if process_uid:
        tags += f",procedure:{process_uid}"
    if run_id:
        tags += f",run:{run_id}"
    if trace:
        tags += f",trace:{trace}"
    return {"device": device, "tags": tags}


def escape(text: str) -> str:
    """Return `text` in one line and without the format's separator: what does not print is written as in Python."""
    if text.isprintable() and "|" not in text:
        return text
    return "".join(char if char.isprintable() and char != "|" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return _SHORT.get(char) or char.encode("unicode_escape").decode()


def shorten(text: str, longest: int) -> str:
    """Return `text` with its middle left out if it has more characters than `longest`."""
    if len(text) <= longest:
        return text
    head, tail = longest // 3, longest - longest // 3
    return f"{text[:head]} [{len(text) - longest} characters left out] {text[-tail:]}"


class SkaFormatter(logging.Formatter):
    """Formats a record as one line of the SKA's log format.

    :param tags: of records that bring none
    :param scripts: keep line breaks, as the author of a script has written them
    """

    converter = staticmethod(time.gmtime)

    def __init__(self, tags: str = "", *, scripts: bool = False) -> None:
        super().__init__()
        self._tags = tags
        self._scripts = scripts

    def format(self, record: logging.LogRecord) -> str:
        message = self.text(record)
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = (
            f"1|{seconds}.{int(record.msecs):03d}Z|{record.levelname}",
            escape(str(record.threadName)),
            escape(record.funcName or ""),
            f"{escape(record.filename)}#{record.lineno}",
            escape(getattr(record, "tags", self._tags)),
            message if self._scripts else shorten(escape(shorten(message, _LONGEST_TEXT)), _LONGEST_TEXT),
        )
        return "|".join(fields)

    def text(self, record: logging.LogRecord) -> str:
        """Return the message of a record, and the traceback that belongs to it, as they are."""
        try:
            message = record.getMessage()
        except Exception:  # a wrong log call is no reason to fail
            message = f"{record.msg} {record.args!r}"
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return "\n".join(filter(None, (message, record.exc_text)))


# -- the arguments -v, -v0 to -v5 of a Tango device server

_LIBRARY = 5  # the least N of -vN with which Tango's library logs its own work


def _trace_of(argument: str) -> int | None:
    found = re.fullmatch(r"-v(\d*)", argument)
    return int(found[1] or "1") if found else None


def level_of(arguments: Sequence[str]) -> int | None:
    """Return the level that -v asks for, as Tango understands it: -v1 and -v2 INFO, from -v3 on DEBUG.

    -v0, which Tango itself refuses, asks for warnings and errors alone.  None: nothing is asked.
    """
    traces = [trace for trace in map(_trace_of, arguments) if trace is not None]
    if not traces:
        return None
    return logging.WARNING if traces[-1] == 0 else logging.INFO if traces[-1] <= 2 else logging.DEBUG


def tango_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that Tango is to see: no -v below 5, which would have it write each line once more."""
    return [argument for argument in arguments if (trace := _trace_of(argument)) is None or trace >= _LIBRARY]


# -- writing without waiting


class LineWriter:
    """Writes whole lines to a descriptor, and waits no longer than it is told to.  One thread uses it."""

    def __init__(self, descriptor: int = 1) -> None:
        self._write = _writer_of(descriptor)
        self.dropped = 0

    def write(self, line: str, patience: float = 0.0) -> bool:
        """Write a line; False: nobody has taken it within `patience` seconds, or nobody ever will."""
        data = _as_bytes(line)
        deadline = time.monotonic() + patience
        while True:
            try:
                self._write(data)
                return True
            except OSError as error:  # the disk is full, or the reader is gone: a server has more important work
                if error.errno != errno.EAGAIN or time.monotonic() >= deadline:
                    self.dropped += 1
                    return False
            time.sleep(_LOOK_AGAIN)


def _as_bytes(line: str) -> bytes:
    data = line.encode("utf-8", "backslashreplace")
    if len(data) >= LONGEST_LINE:
        data = data[: LONGEST_LINE - 1].decode("utf-8", "ignore").encode()
    return data + b"\n"


def _writer_of(descriptor: int) -> Callable[[bytes], object]:
    """Return what writes to the descriptor's file without waiting, and without making it so for other processes."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return lambda data: None  # it is closed
    if stat.S_ISSOCK(mode):
        peer = socket.socket(fileno=os.dup(descriptor))
        return lambda data: peer.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    if stat.S_ISREG(mode):
        return lambda data: os.write(descriptor, data)
    try:  # an open file of our own: O_NONBLOCK belongs to the open file, and others share the one we were given
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return lambda data: _write_if_ready(descriptor, data)
    return lambda data: os.write(own, data)


def _write_if_ready(descriptor: int, data: bytes) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError(errno.EAGAIN, "nobody reads")
    os.write(descriptor, data)


class DirectHandler(logging.Handler):
    """Writes each record at once or drops it: for a process of one thread, which waits for nobody."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer
        self._told = 0

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self._line(record), 0.0)

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception:  # whoever logs must not suffer from what is logged, nor the thread that writes
            odd = "a record of %s, line %d, cannot be written"
            where = record.pathname, record.lineno
            return self.format(logging.LogRecord(record.name, record.levelno, *where, odd, where, None, None))

    def _write(self, line: str, patience: float) -> None:
        """Write a line, and how many lines were dropped before it, if anybody reads."""
        lost = self._lost()
        if self._writer.write(line, patience) and lost > self._told:
            told = _record_of_loss(lost - self._told)
            if self._writer.write(self.format(told)):
                self._told = lost

    def _lost(self) -> int:
        return self._writer.dropped


class QueuedHandler(DirectHandler):
    """Hands records to a thread that formats and writes them: to log costs little, and never waits.

    While nobody reads, the thread drops what comes, so that the other targets of the log go on.
    """

    def __init__(self, writer: LineWriter) -> None:
        import queue  # not in main, which has one thread

        super().__init__(writer)
        self._records: queue.SimpleQueue[logging.LogRecord | threading.Event] = queue.SimpleQueue()
        self._left_out = 0
        self.deliver: Deliver | None = None
        """Is given each record and its text, in the thread that writes."""
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._records.qsize() >= _MOST_WAITING:
            self._left_out += 1
            return
        if record.exc_info and not record.exc_text:  # now: a traceback keeps all that its frames hold
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        self._records.put(record)

    def flush(self) -> None:
        """Wait a moment until everything is written that was logged before; logging.shutdown calls it."""
        written = threading.Event()
        self._records.put(written)
        written.wait(_LAST_WORDS)

    def _run(self) -> None:
        patience = _PATIENCE
        while True:
            record = self._records.get()
            if isinstance(record, threading.Event):
                record.set()
                continue
            line = self._line(record)
            if self.deliver is not None:
                with contextlib.suppress(Exception):  # the line is written all the same
                    self.deliver(record, line.split("|", 7)[-1])
            before = self._writer.dropped
            self._write(line, patience)
            patience = _PATIENCE if self._writer.dropped == before else 0.0

    def _lost(self) -> int:
        return self._writer.dropped + self._left_out


def _record_of_loss(number: int) -> logging.LogRecord:
    text = "%d lines of this log were dropped: nobody read them, or they could not be written"
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (number,), None, "log")


def _descriptor() -> int:
    """Return where the log goes: Tango's Starter throws standard output away, and keeps standard error in its file."""
    return 2 if _is_null(1) and not _is_null(2) else 1


def _is_null(descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(os.devnull))
    except OSError:  # it is closed
        return True


def configure_server_logging(arguments: Sequence[str], *, threaded: bool = False) -> DirectHandler:
    """Send the log of a process of the server to its standard output, replacing what was set up before.

    Where that is /dev/null, and standard error is not, to standard error.

    :param arguments: the command line's, whose -v says how much; INFO unless told otherwise
    :param threaded: have a thread write; the handler then decides, by filters, what is logged
    """
    writer = LineWriter(_descriptor())
    handler = QueuedHandler(writer) if threaded else DirectHandler(writer)
    handler.setFormatter(SkaFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)  # other people's libraries
    for name in (_OURS, "__main__"):
        logging.getLogger(name).setLevel(logging.DEBUG if threaded else level_of(arguments) or logging.INFO)
    return handler
