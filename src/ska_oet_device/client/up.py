"""The demonstration's servers, kept for you: ``python -m ska_oet_device.client.up``, or ``make up``."""

from __future__ import annotations

import sys

import tango

from ._interrupts import Interrupted, Interrupts
from ._stack import DEVICE, Stack, StackError, explain

_LOOK_AFTER = 1.0  # seconds between two looks at the servers

_HOW_TO = """\
The device {device} runs. In another terminal:

    export TANGO_HOST={host}
    {programs}/oet run scan.py --follow
    {programs}/itango

and in itango, for instance:

    %load_ext ska_oet_device.itango
    p = %oet_run scan.py
    %oet_watch

Logs: {logs}
Ctrl-C ends it."""


def _stay(stack: Stack, interrupts: Interrupts) -> None:
    while True:
        try:
            interrupts.get(_LOOK_AFTER)
        except TimeoutError:
            stack.check()


def main() -> int:
    """Keep the servers until Ctrl-C or SIGTERM; returns the exit status."""
    with Interrupts() as interrupts:
        try:
            with Stack(interrupts) as stack:
                programs = f"{sys.prefix}/bin"
                print(
                    _HOW_TO.format(device=DEVICE, host=stack.tango_host, programs=programs, logs=stack.folder),
                    flush=True,
                )
                _stay(stack, interrupts)
        except Interrupted:
            print("\nEnded.", flush=True)
        except (StackError, tango.DevFailed) as error:
            print(f"The servers could not run: {explain(error)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
