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
_USUAL = "mid-oet/subarray/01"
_NAMES = ("OK", "DEGRADED", "FAILED", "UNKNOWN")


SUMMARY = "Say how healthy a device is; made for probes."


def main(arguments: Sequence[str] | None = None, program: str = "oet") -> None:
    """Run the command; does not return.

    :param arguments: those behind `health`
    """
    gc.disable()  # it would look through all that Tango brings along, and find nothing
    asked = _parser(program).parse_args(arguments)
    device = asked.device or asked.option or os.environ.get("OET_DEVICE")
    name, device, text = _health(device, asked.timeout)
    status = 0 if name in ("OK", "DEGRADED") else 1
    if asked.as_json:
        import json

        _leave(json.dumps({"device": device, "health": name, "status": text}), status)
    _leave(f"{name} {device}: {text}", status)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{program} health",
        description="Say how healthy a device is; exit status 0 for OK and DEGRADED, 1 for anything else.",
    )
    of_device = f"else $OET_DEVICE, else the only OetDevice of the Tango database, else {_USUAL}"
    parser.add_argument("device", nargs="?", help=f"Tango name of the device; {of_device}")
    parser.add_argument("--device", "-d", dest="option", metavar="NAME", help="the same")
    parser.add_argument("--timeout", type=_seconds, default=3.0, help="seconds within which there is an answer: 3")
    parser.add_argument("--json", dest="as_json", action="store_true", help="say it as an object of JSON")
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

    def __init__(self, device: str | None, timeout: float) -> None:
        super().__init__(daemon=True)
        self.device = device
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
        if self.device is None:
            known = list(tango.Database().get_device_name("*", "OetDevice").value_string)
            self.device = known[0] if len(known) == 1 and known[0] else _USUAL
        proxy = tango.DeviceProxy(self.device)
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


def _health(device: str | None, timeout: float) -> tuple[str, str, str]:
    """Return the name of the device's health, the device, and a sentence about it."""
    look = _Look(device, timeout)
    look.start()
    look.join(max(0.0, _BEGAN + timeout - _MARGIN - time.monotonic()))
    name, text = look.answer or ("FAILED", f"no answer from {look.at} within {timeout:g} s")
    return name, look.device or _USUAL, text


def _leave(sentence: str, status: int) -> None:
    try:
        print(sentence, flush=True)
    except OSError:  # nobody reads it; the status tells
        pass
    os._exit(status)
