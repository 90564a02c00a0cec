"""The ``oet`` command: asks a device how it does.  Made for shells and for Kubernetes probes.

A probe runs every few seconds, for ever: what takes long to import is not imported, or while the
time-out runs already, and this process ends without taking itself apart.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import threading
import time
from collections.abc import Sequence

_BEGAN = time.monotonic()
_LONGEST = 3600.0  # seconds
_MARGIN = 0.05  # seconds that the beginning and the end of this process take
_SETTLING = 0.02  # seconds after which the device knows what its first look has brought
_NAMES = ("OK", "DEGRADED", "FAILED", "UNKNOWN")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; does not return."""
    gc.disable()  # it would look through all that Tango brings along, and find nothing
    asked = _parser().parse_args(arguments)
    _leave(*_health(asked.device, asked.timeout))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oet", description="Ask an OetDevice.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    health = commands.add_parser(
        "health",
        help="say how healthy a device is",
        description="Say how healthy a device is; exit status 0 for OK and DEGRADED, 1 for anything else.",
    )
    health.add_argument("device", nargs="?", default="mid-oet/subarray/01", help="Tango name of the device")
    health.add_argument("--timeout", type=_seconds, default=3.0, help="seconds within which there is an answer: 3")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds, more than 0 and at most {_LONGEST:g}")
    return seconds


class _Look(threading.Thread):
    """Looks at a device, in a thread that may be left where it hangs: at a server that is stopped, say."""

    def __init__(self, device: str, timeout: float) -> None:
        super().__init__(daemon=True)
        self._device = device
        self._timeout = timeout
        self.at = "the Tango client library"
        self.answer: tuple[str, str] | None = None

    def run(self) -> None:
        try:
            self.answer = self._look()
        except Exception as error:  # whatever it was, it is the answer
            self.answer = ("FAILED", _text_of(error))

    def _look(self) -> tuple[str, str]:
        """Read healthState twice: the first reading has the server try the real path, the second shows what came of it.

        Main answers, a worker is forked, the history is written.
        """
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy, which comes with Tango, needs none of its threads
        import tango

        self.at = f"the Tango database {os.environ.get('TANGO_HOST', '')}, or from the device server,"
        proxy = tango.DeviceProxy(self._device)
        self.at = "the device"
        proxy.set_timeout_millis(math.ceil(self._timeout * 1000))
        proxy.read_attribute("healthState")
        time.sleep(_SETTLING)
        state, status = (reading.value for reading in proxy.read_attributes(["healthState", "Status"]))
        return _NAMES[int(state)], status


def _text_of(error: Exception) -> str:
    """Return what went wrong in one line; of a DevFailed, what could not be done and its cause."""
    found = [item.desc for item in error.args if hasattr(item, "desc")] or [str(error)]
    return " ".join(": ".join(dict.fromkeys([found[-1].strip(), found[0].strip()])).split())


def _health(device: str, timeout: float) -> tuple[str, int]:
    """Return a sentence about the device's health, and the exit status."""
    look = _Look(device, timeout)
    look.start()
    look.join(max(0.0, _BEGAN + timeout - _MARGIN - time.monotonic()))
    name, text = look.answer or ("FAILED", f"no answer from {look.at} within {timeout:g} s")
    return f"{name} {device}: {text}", 0 if name in ("OK", "DEGRADED") else 1


def _leave(sentence: str, status: int) -> None:
    try:
        print(sentence, flush=True)
    except OSError:  # nobody reads it; the status tells
        pass
    os._exit(status)
