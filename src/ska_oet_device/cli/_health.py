"""``oet health``: asks a device how it does.  Made for shells and for Kubernetes probes.

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
from typing import Any, NoReturn

from ._tango_host import NOT_SET, is_tango_host_set

_BEGAN = time.monotonic()
_LONGEST = 3600.0  # seconds
_MARGIN = 0.05  # seconds that the beginning and the end of this process take
_SETTLING = 0.02  # seconds after which the device knows what its first look has brought
_USUAL = "mid-oet/subarray/01"
_AGAIN = 1.1  # seconds between two attempts to connect: within 1 s Tango makes none, and says so
_MAY_PASS = ("API_CantConnectToDevice", "API_CorbaException", "API_ServerNotRunning")
ALIVE = "ALIVE"
_NAMES = ("OK", "DEGRADED", "FAILED", "UNKNOWN")


SUMMARY = "Say how healthy a device is; made for probes."


def main(arguments: Sequence[str] | None = None, program: str = "oet") -> None:
    """Run the command; does not return.

    :param arguments: those behind `health`
    """
    gc.disable()  # it would look through all that Tango brings along, and find nothing
    asked = _parser(program).parse_args(arguments)
    device = asked.device or asked.option or os.environ.get("OET_DEVICE")
    try:
        name, device, text = _found(_look(device, asked.timeout, alive=asked.alive))
    except Unclear as unclear:
        _refuse(program, str(unclear), as_json=asked.as_json)
    status = 0 if name in ("OK", "DEGRADED", ALIVE) else 1
    if asked.as_json:
        import json

        told = {"alive": name == ALIVE} if asked.alive else {"health": name}
        _leave(json.dumps({"device": device, **told, "status": text}), status)
    _leave(f"{name} {device}: {text}", status)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{program} health",
        description="Say how healthy a device is; exit status 0 for OK and DEGRADED, with --alive if it answers, 1 for "
        "anything else; 2 if it is not clear which device is meant.",
    )
    of_device = f"else $OET_DEVICE, else the only OetDevice of the Tango database, else, if there is none, {_USUAL}"
    parser.add_argument("device", nargs="?", help=f"Tango name of the device; {of_device}")
    parser.add_argument("--device", "-d", dest="option", metavar="NAME", help="the same")
    parser.add_argument("--alive", action="store_true", help="say only whether it answers at all, whatever its health")
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


class Unclear(Exception):  # noqa: N818 - says it
    """Nobody has said which of several devices."""


class Look(threading.Thread):
    """Looks at a device, in a thread that may be left where it hangs: at a server that is stopped, say.

    :ivar answer: a word, and a sentence; None while there is none
    :ivar failure: what was wrong first
    """

    def __init__(self, device: str | None, timeout: float) -> None:
        super().__init__(daemon=True)
        self.device = device
        self.ends = _BEGAN + timeout - _MARGIN
        self._timeout = timeout
        self.at = "the Tango client library"
        self.answer: tuple[str, str] | None = None
        self.unclear: Unclear | None = None
        self.failure = ""

    def run(self) -> None:
        while self.answer is None and self.unclear is None:
            try:
                self.answer = self.look()
            except Unclear as unclear:
                self.unclear = unclear
            except Exception as error:  # whatever it was, it is the answer, unless it may pass
                is_first = not self.failure
                self.failure = self.failure or _text_of(error)
                if not _may_pass(error):
                    self.answer = ("FAILED", self.failure)
                elif is_first and self.device is not None:
                    self._ask_why(self.device)
                else:
                    time.sleep(_AGAIN)

    def _ask_why(self, device: str) -> None:
        """Have the Tango database say why there is no connection: a look that succeeds imports none of that."""
        from ..client import why_absent

        self.failure = (why_absent(device, _AGAIN) or self.failure).removeprefix(f"{device} ")

    def device_name(self, tango: Any, host: str) -> str:
        """Return the device's name: as it was given, else that of the only one there is.

        :raises Unclear: there are several
        """
        if self.device is None:
            known = [name for name in tango.Database().get_device_name("*", "OetDevice").value_string if name]
            if len(known) > 1:
                raise Unclear(f"the Tango database {host} has {len(known)} OetDevices: say which ({', '.join(known)})")
            self.device = known[0] if known else _USUAL
        return self.device

    def too_late(self) -> tuple[str, str]:
        """Return what is said when the time is over."""
        return "FAILED", self.failure or f"no answer from {self.at} within {self._timeout:g} s"

    def look(self) -> tuple[str, str]:
        """Read healthState twice: the first reading has the server try the real path, the second shows what came of it.

        Main answers, a worker is forked, the history is written.
        """
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy, which comes with Tango, needs none of its threads
        import tango

        if not is_tango_host_set(self.device):
            return "FAILED", NOT_SET
        host = os.environ.get("TANGO_HOST") or tango.ApiUtil.get_env_var("TANGO_HOST") or ""
        self.at = " ".join(["the Tango database", *host.split()]) + ", or from the device server,"
        proxy = tango.DeviceProxy(self.device_name(tango, host))
        self.at = "the device"
        proxy.set_timeout_millis(math.ceil(self._timeout * 1000))
        proxy.read_attribute("healthState")
        time.sleep(_SETTLING)
        state, status = (reading.value for reading in proxy.read_attributes(["healthState", "Status"]))
        return _NAMES[int(state)], status


def _text_of(error: Exception) -> str:
    """Return what went wrong in one line; of a DevFailed, what could not be done and its cause."""
    found = [item.desc for item in error.args if hasattr(item, "desc")] or [str(error)]
    found = [
        text for text in found if "request was delayed" not in text
    ] or found  # that there was no attempt is no cause
    return " ".join(": ".join(dict.fromkeys([found[-1].strip(), found[0].strip()])).split())


def _may_pass(error: Exception) -> bool:
    """Say whether the device server may be about to be back: it is known, and not there, or not asked again so soon."""
    reasons = [item.reason for item in error.args if hasattr(item, "reason")]
    return any(reason in _MAY_PASS for reason in reasons) and not any("Database" in reason for reason in reasons)


def _look(device: str | None, timeout: float, *, alive: bool) -> Look:
    if not alive:
        return Look(device, timeout)
    from ._alive import AliveLook

    return AliveLook(device, timeout)


def _found(look: Look) -> tuple[str, str, str]:
    """Return in a word how the device is, its name, and a sentence about it.

    :raises Unclear: it is not clear which device is meant
    """
    look.start()
    look.join(max(0.0, look.ends - time.monotonic()))
    if look.unclear is not None:
        raise look.unclear
    name, text = look.answer or look.too_late()
    return name, look.device or _USUAL, text


def _leave(sentence: str, status: int) -> NoReturn:
    try:
        print(sentence, flush=True)
    except OSError:  # nobody reads it; the status tells
        pass
    os._exit(status)


def _refuse(program: str, text: str, *, as_json: bool) -> NoReturn:
    """Say on standard error why nothing was asked, as the other commands do."""
    line = f"{program}: {text}; an argument, --device or $OET_DEVICE names it"
    if as_json:
        import json

        line = json.dumps({"error": "usage", "text": line.partition(": ")[2], "status": 2})
    try:
        os.write(2, f"{line}\n".encode(errors="backslashreplace"))
    except OSError:  # nobody reads it; the status tells
        pass
    os._exit(2)
