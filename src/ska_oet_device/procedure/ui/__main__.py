"""The device server process: a fresh interpreter, started by main with one end of the link.

``python -m ska_oet_device.procedure.ui FD ARGUMENT...``; the arguments are those of OetDevice.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from typing import NoReturn

import tango
from tango.server import run

from ...config import HISTORY_URL_VARIABLE
from ...database_wait import split_arguments
from ...duties import Duty
from ...logs import configure_server_logging, tango_arguments
from ...mptools import raise_limits, replace_standard_streams, take_variable
from ...properties import history_url_in
from ..link import Link
from ..messages import CannotServe, ServerReady, ServerStarts, StopEverything
from ._before_tango import do_without_user_name, port_problem, uses_database, wait_for_database
from ._first_server import served_elsewhere
from ._host import Runtime
from ._sending import wait_until_sent
from ._start_check import fault_of_start
from ._tango_logs import TangoLogs
from .device import OetDevice

_log = logging.getLogger(__name__)

SERVER_NAME = "OetDevice"
_HEALTH_PERIOD = 1.0  # seconds
_SWITCH_INTERVAL = 0.0005  # seconds
_START_CHECKED_EVERY = 0.1  # seconds
_SENDING = 2.0  # seconds for the last events to leave this process
_FAREWELL = 0.5  # seconds in which clients can still read why the device is in FAULT


def _end(runtime: Runtime) -> None:
    """End this process as Tango's own signal handling does; called when main asks or is gone."""
    if runtime.link.main.lost:
        _log.critical("%s", runtime.link.main.lost)
        end = time.monotonic() + _FAREWELL
        runtime.reap_abandoned()
        time.sleep(max(0.0, end - time.monotonic()))
        logging.shutdown()
        os._exit(1)
    runtime.flush()
    wait_until_sent(_SENDING)
    runtime.shut_down.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _begin_to_end(runtime: Runtime) -> None:
    """End this process in a thread of its own, or, if none is to be had, in this one, which has nothing more to do."""
    try:
        threading.Thread(target=_end, args=(runtime,), name="end", daemon=True).start()
    except RuntimeError:
        _end(runtime)


def _leave(runtime: Runtime) -> NoReturn:
    """End after Tango has: the scripts are stopped first, so that the history tells how each one ended.

    Tango's Kill and a signal to this process lead here without main knowing; it is told to stop
    the scripts, which takes as long as their grace periods, and says when that is done.
    """
    if not runtime.shut_down.is_set():
        runtime.link.send(StopEverything())
        runtime.shut_down.wait()
    runtime.close()
    runtime.link.tell_recorded()  # what main knows to be recorded it need not leave to the next one
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    _log.info("the device server ends")
    logging.shutdown()
    os._exit(0)  # threads that still push or read must not see the interpreter taken apart


def _watch_health(runtime: Runtime) -> None:
    """Look after main once a second, without waking it.  Target of a thread."""
    with tango.EnsureOmniThread():
        duty = Duty("look after its health and stores")
        while True:
            time.sleep(_HEALTH_PERIOD)
            duty.attempt(runtime.tick)


def _watch_devices(runtime: Runtime) -> None:
    """End this process if Tango has lost a device: main starts another one, and no script notices.

    DevRestart destroys the device object before it asks the database about it.  If the database is away just then there
    is no object any more, and Tango never makes another one.  Target of a thread, since a database that hangs keeps it.
    """
    with tango.EnsureOmniThread():
        duty = Duty("see whether Tango has lost a device")
        while True:
            time.sleep(_HEALTH_PERIOD)
            duty.attempt(lambda: _start_anew_without(runtime.lost_device()))


def _start_anew_without(device: str) -> None:
    if device:
        _log.error("Tango has lost the device %s, and the database is there again: the server starts anew", device)
        logging.shutdown()
        os._exit(1)


def _watch_registration(runtime: Runtime) -> None:
    """Notice if the database names another server for a device, or none: then this process starts anew, and tells it.

    Target of a thread, since a database that hangs keeps it.
    """
    with tango.EnsureOmniThread():
        duty = Duty("see whether the Tango database names this server for its devices")
        while True:
            time.sleep(_HEALTH_PERIOD)
            duty.attempt(lambda: _start_anew_for(runtime.look_at_registration()))


def _start_anew_for(device: str) -> None:
    if device:
        _log.error("nobody finds the device %s by the Tango database: the server starts anew, and tells it", device)
        logging.shutdown()
        os._exit(1)


def _check_start(runtime: Runtime) -> None:
    """End this process if Tango did not start as it should: main starts another one, and no script notices.

    Target of a thread, since a database that hangs keeps whoever asks it.
    """
    with tango.EnsureOmniThread():
        duty, is_checked = Duty("see whether Tango has started as it should"), threading.Event()
        while True:
            if duty.attempt(lambda: _check_once(runtime, is_checked)) and is_checked.is_set():
                return
            time.sleep(_START_CHECKED_EVERY)


def _check_once(runtime: Runtime, is_checked: threading.Event) -> None:
    try:
        fault = fault_of_start(runtime.devices[0]) if runtime.devices else ""
    except tango.DevFailed:  # Tango is still starting, or its database is away
        return
    if fault:
        _log.error("Tango has not started as it should: %s; it starts anew", fault)
        logging.shutdown()
        os._exit(1)
    is_checked.set()


_THREADS = (
    (_watch_health, "health"),
    (_check_start, "start check"),
    (_watch_devices, "devices"),
    (_watch_registration, "registration"),
)


def _look_for_database(link: Link, arguments: list[str], patience: float) -> None:
    """Have the Tango database there, and no other server for the devices: one that has served waits for the database.

    :param patience: seconds that the very first start waits
    """
    if not uses_database(arguments):
        return
    if problem := wait_for_database(math.inf if link.main.restarted else patience):
        _give_up(link, problem)
    if arguments and (problem := served_elsewhere(f"{SERVER_NAME}/{arguments[0]}", SERVER_NAME)):
        _give_up(link, problem)


def _give_up(link: Link, reason: str) -> NoReturn:
    """End with a status that is not 0, and tell main why."""
    _log.error("the device server cannot run: %s", reason)
    link.send(CannotServe(reason))
    logging.shutdown()
    os._exit(1)  # Tango may have threads already, which must not see the interpreter taken apart


def main(argv: list[str]) -> NoReturn:
    """Serve until Tango's Kill, a signal, or the end of main, which exit with 0; if it cannot serve, with 1."""
    replace_standard_streams()
    history_url = take_variable(HISTORY_URL_VARIABLE)
    do_without_user_name()
    raise_limits()  # main may have been short of something when it started this process
    arguments, patience = split_arguments(argv[2:], os.environ)  # main has seen that they can be understood
    logs = TangoLogs(arguments)
    logs.serve(configure_server_logging(arguments, threaded=True))
    # A script that floods the bus keeps one thread busy: commands would wait 5 ms for each of their turns.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    os.set_inheritable(int(argv[1]), False)
    link = Link(socket.socket(fileno=int(argv[1])))
    link.thread_context = tango.EnsureOmniThread
    runtime = Runtime(link, logs, *history_url_in(history_url))
    link.on_shutdown = lambda: _begin_to_end(runtime)
    link.start()
    OetDevice.runtime = runtime
    OetDevice.logs = logs

    def ready() -> None:
        link.drop_unclaimed()
        link.send(ServerReady())
        for target, name in _THREADS:
            threading.Thread(target=target, args=(runtime,), name=name, daemon=True).start()
        # What exists now is there for good: a collection need not look through all of it again and again.
        gc.collect()
        gc.freeze()
        _log.info("the device server is ready: process %d, devices %s", os.getpid(), ", ".join(runtime.devices))

    try:
        _look_for_database(link, arguments, patience)
        link.send(ServerStarts())
        # The stream by default is the one that Python made at the start.
        run(
            [OetDevice],
            args=[SERVER_NAME, *tango_arguments(arguments)],
            msg_stream=sys.stdout,
            post_init_callback=ready,
            raises=True,
        )
    except tango.DevFailed as error:
        _give_up(link, " ".join(entry.desc for entry in error.args))
    except (OSError, RuntimeError) as error:  # omniORB's: "Caught an unknown exception!"
        _give_up(link, port_problem(arguments) or f"{type(error).__name__}: {error}")
    _leave(runtime)


if __name__ == "__main__":
    main(sys.argv)
