"""What Tango's administrators may set about the log: each device's level and its targets.

Python's logging is what the program calls.  Each record that concerns a device passes that
device's level, as SetLoggingLevel has set it, goes to standard output, and is handed to the
device's logger in Tango, which serves the targets ``file::`` and ``device::``.
"""

from __future__ import annotations

import enum
import logging
import queue
import re
import threading

import tango

from ...duties import Duty
from ...logs import QueuedHandler, level_of, tango_arguments
from ._devstring import latin1

_CONSOLE = "console::cout"
_LEVELS = {
    100: logging.CRITICAL + 1,
    200: logging.CRITICAL,
    300: logging.ERROR,
    400: logging.WARNING,
    500: logging.INFO,
    600: logging.DEBUG,
}
"""Levels of Tango's loggers, and what they let pass here."""
_TANGO_LEVELS = {level: theirs for theirs, level in _LEVELS.items()}


class LoggingLevel(enum.IntEnum):
    """The SKA's loggingLevel; Tango's own levels are the same, from 100 on."""

    OFF = 0
    FATAL = 1
    ERROR = 2
    WARNING = 3
    INFO = 4
    DEBUG = 5


_CDATA_END = r"]]\x3e"  # a file target is XML
_MOST_WAITING = 10_000  # lines that wait for the targets


class TangoLogs:
    """The loggers that Tango keeps for the devices of this process.

    A logger is gone with its device object, so that each use of one is between `attach` and
    `detach`.  Levels are asked for in the threads that log; targets, which may be slow, have a
    thread of their own.
    """

    def __init__(self, arguments: list[str]) -> None:
        self._asked = level_of(arguments)
        self._library = any(re.fullmatch(r"-v\d+", argument) for argument in tango_arguments(arguments))
        self._consoles: set[str] = set()
        self._loggers: dict[str, tango.Logger] = {}
        self._levels: dict[str, int] = {}
        self._lock = threading.Lock()  # held for a moment only
        self._delivering = threading.Lock()  # held while targets are served
        self._lines: queue.SimpleQueue[tuple[str, int, str]] = queue.SimpleQueue()

    def serve(self, handler: logging.Handler) -> None:
        """Decide from now on which records pass, and deliver those of devices to their targets."""
        assert isinstance(handler, QueuedHandler)
        handler.addFilter(self._passes)
        handler.deliver = self._put
        threading.Thread(target=self._run, name="log targets", daemon=True).start()

    # -- devices

    def attach(self, device: tango.server.Device, *, is_new: bool) -> None:
        """Use the logger of a device.

        :param is_new: the device object has just been made; its level is INFO unless something else was asked for
        """
        name, logger = device.get_name(), device.get_logger()
        if is_new:
            self._set_up(name, logger)
        with self._lock:
            self._loggers[name] = logger

    def _set_up(self, name: str, logger: tango.Logger) -> None:
        properties = _properties(name)
        if self._asked is not None:
            logger.set_level(_TANGO_LEVELS[self._asked])
        elif not properties["logging_level"]:
            logger.set_level(_TANGO_LEVELS[logging.INFO])
        if self._library or any(target.startswith("console") for target in properties["logging_target"]):
            with self._lock:
                self._consoles.add(name)

    def detach(self, name: str) -> None:
        """Use the logger of a device no more, since it is about to be gone; the level is remembered."""
        with self._lock:
            logger = self._loggers.pop(name, None)
            if logger is not None:
                self._levels[name] = logger.get_level()
        with self._delivering:
            pass  # what was under way has ended

    # -- what clients read and write of a level; any thread

    def level(self, name: str) -> LoggingLevel:
        """Return the level of a device, whoever has set it."""
        with self._lock:
            logger = self._loggers.get(name)
            level = logger.get_level() if logger is not None else self._levels.get(name, _TANGO_LEVELS[logging.INFO])
        return LoggingLevel(level // 100 - 1) if level in _LEVELS else LoggingLevel.INFO

    def set_level(self, name: str, level: LoggingLevel) -> None:
        """Set the level of a device, as the admin device's SetLoggingLevel does."""
        with self._lock:
            logger = self._loggers.get(name)
            if logger is not None:
                logger.set_level(100 * (level + 1))

    # -- any thread that logs

    def _passes(self, record: logging.LogRecord) -> bool:
        level: int = self._level_of(getattr(record, "device", ""))
        return record.levelno >= level

    def _level_of(self, name: str) -> int:
        """Return the level of a device; of the process as such, the most talkative device's."""
        with self._lock:
            if name in self._loggers:
                return _LEVELS.get(self._loggers[name].get_level(), logging.INFO)
            if name in self._levels:
                return _LEVELS.get(self._levels[name], logging.INFO)
            levels = [_LEVELS.get(logger.get_level(), logging.INFO) for logger in self._loggers.values()]
        return min(levels, default=self._asked or logging.INFO)

    # -- targets

    def _put(self, record: logging.LogRecord, text: str) -> None:
        name = getattr(record, "device", "")
        if name and self._lines.qsize() < _MOST_WAITING:
            self._lines.put((name, record.levelno, text))

    def _run(self) -> None:
        with tango.EnsureOmniThread():
            duty = Duty("serve the targets of its log")
            while True:
                duty.attempt(self._serve_next)

    def _serve_next(self) -> None:
        name, level, text = self._lines.get()
        with self._delivering:
            with self._lock:
                logger = self._loggers.get(name)
            if logger is not None:
                self._drop_console(name)
                _deliver(logger, level, latin1(text).replace("]]>", _CDATA_END))

    def _drop_console(self, name: str) -> None:
        """Have Tango not print what standard output has already: -v5 and a property make it do so at the start."""
        if name in self._consoles:
            try:
                tango.Logging.remove_logging_target([name, _CONSOLE])
                self._consoles.discard(name)
            except tango.DevFailed:  # the device is still being made
                pass


def _deliver(logger: tango.Logger, level: int, text: str) -> None:
    if level >= logging.CRITICAL:
        logger.fatal(text)
    elif level >= logging.ERROR:
        logger.error(text)
    elif level >= logging.WARNING:
        logger.warning(text)
    elif level >= logging.INFO:
        logger.info(text)
    else:
        logger.debug(text)


def _properties(name: str) -> dict[str, list[str]]:
    """Return what the Tango database has about a device's log; nothing if there is no database."""
    wanted: dict[str, list[str]] = {"logging_level": [], "logging_target": []}
    try:
        database = tango.Util.instance().get_database() if tango.Util._UseDb else None
        return {**wanted, **(database.get_device_property(name, list(wanted)) if database else {})}
    except tango.DevFailed:
        return {**wanted}
