"""A simulated telescope mount: the Tango device that the example scripts drive.

``SimulatedMount 01`` runs it.  Commands only set where the mount is to go; one thread moves it
and pushes all events.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Sequence

import tango
from tango import DevState
from tango.server import Device, attribute, command, device_property, run

SERVER_NAME = "SimulatedMount"

_STEP = 0.05  # seconds between two position events
_SIDEREAL = 360.0 / 86164.0  # degrees a second
_STOWED = (0.0, 60.0)
_AZIMUTHS, _ELEVATIONS = (-270.0, 270.0), (15.0, 90.0)  # degrees


class SimulatedMount(Device):
    """An azimuth-elevation mount that moves at a steady rate.

    STANDBY: brakes on; MOVING: on its way; ON: at the position it was sent to; RUNNING: following
    the sky.
    """

    SlewRate = device_property(dtype=float, default_value=30.0, doc="Degrees a second; a real mount takes its time")

    def init_device(self) -> None:
        super().init_device()
        for name in ("State", "azimuth", "elevation"):
            self.set_change_event(name, True, False)
            self.set_archive_event(name, True, False)
        self._wake = threading.Condition()
        self._ended = False
        self._place = self._target = _STOWED
        self.set_state(DevState.STANDBY)
        self.set_status("The brakes are on.")
        self._mover = threading.Thread(target=self._move, name="mover", daemon=True)
        self._mover.start()

    def delete_device(self) -> None:
        with self._wake:
            self._ended = True
            self._wake.notify()
        self._mover.join()  # it waits for nobody, see main()
        super().delete_device()

    # -- clients

    @attribute(dtype=float, unit="deg", format="%7.2f", doc="Where the mount points, from north over east")
    def azimuth(self) -> float:
        return self._place[0]

    @attribute(dtype=float, unit="deg", format="%7.2f", doc="Where the mount points, from the horizon up")
    def elevation(self) -> float:
        return self._place[1]

    @command(dtype_in=(float,), doc_in="Azimuth (-270 to 270) and elevation (15 to 90), degrees")
    def Slew(self, position: Sequence[float]) -> None:
        """Go there: State is MOVING at once, and ON on arrival."""
        if len(position) != 2 or not (_within(position[0], _AZIMUTHS) and _within(position[1], _ELEVATIONS)):
            tango.Except.throw_exception(
                "Mount_OutOfRange",
                f"{[float(angle) for angle in position]} is not an azimuth from {_AZIMUTHS[0]:g} to {_AZIMUTHS[1]:g} "
                f"and an elevation from {_ELEVATIONS[0]:g} to {_ELEVATIONS[1]:g}",
                "SimulatedMount.Slew",
            )
        self._enter(DevState.MOVING, "On the way.", (float(position[0]), float(position[1])))

    @command
    def Track(self) -> None:
        """Follow the sky from here: State is RUNNING."""
        self._enter(DevState.RUNNING, "Following the sky.")

    @command
    def Halt(self) -> None:
        """Stand still: State is STANDBY."""
        self._enter(DevState.STANDBY, "The brakes are on.")

    def _enter(self, state: DevState, status: str, target: tuple[float, float] | None = None) -> None:
        with self._wake:
            if target is not None:
                self._target = target
            self.set_state(state)
            self.set_status(status)
            self._wake.notify()

    # -- the thread

    def _move(self) -> None:
        with tango.EnsureOmniThread():
            pushed: dict[str, object] = {}
            last = time.monotonic()
            while True:
                with self._wake:
                    # Whatever a command has changed is pushed before the next wait.
                    if self.get_state() == pushed.get("State") and not self._ended:
                        self._wake.wait(_STEP if self.get_state() in (DevState.MOVING, DevState.RUNNING) else None)
                    if self._ended:
                        return
                    now = time.monotonic()
                    if pushed.get("State") == self.get_state():
                        self._step(now - last)
                    last = now
                    place, state = self._place, self.get_state()
                self._push(pushed, place, state)

    def _step(self, seconds: float) -> None:
        """Move as far as `seconds` allow.  The lock is held."""
        state = self.get_state()
        if state == DevState.RUNNING:
            self._place = (self._place[0] + _SIDEREAL * seconds, self._place[1])
        elif state == DevState.MOVING:
            reach = self.SlewRate * seconds
            way = math.dist(self._place, self._target)
            if way <= reach:
                self._place = self._target
                self.set_state(DevState.ON)
                self.set_status("At the position.")
            else:
                part = reach / way
                self._place = (
                    self._place[0] + part * (self._target[0] - self._place[0]),
                    self._place[1] + part * (self._target[1] - self._place[1]),
                )

    def _push(self, pushed: dict[str, object], place: tuple[float, float], state: DevState) -> None:
        """Push what is new, the position first: who sees ON has seen the arrival."""
        for name, value in (("azimuth", place[0]), ("elevation", place[1])):
            if pushed.get(name) != value:
                pushed[name] = value
                self.push_change_event(name, value)
                self.push_archive_event(name, value)
        if pushed.get("State") != state:
            pushed["State"] = state
            self.push_change_event("State")
            self.push_archive_event("State")


def _within(angle: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= angle <= limits[1]


def _no_monitors() -> None:
    """Have Tango serialise nothing: pushing an event then never waits for a command that waits for the mover."""
    tango.Util.instance().set_serial_model(tango.SerialModel.NO_SYNC)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; the arguments are those of any Tango device server, the instance name first."""
    arguments = sys.argv[1:] if argv is None else argv
    run([SimulatedMount], args=[SERVER_NAME, *arguments], pre_init_callback=_no_monitors, raises=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
