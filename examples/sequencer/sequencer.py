"""A sequencer: a Tango device that runs a list of scripts on an OetDevice, one after another.

It polls nothing, and tells by events of its own how far it has come.  A restart of the OetDevice's server does not
disturb it.
"""

import asyncio
import contextlib
import sys

import tango
from tango import DevState, GreenMode
from tango.server import Device, attribute, command, device_property, run

from ska_oet_device.client import AsyncOetClient, OetError, ProcedureStopped

PUSHED = ("State", "Status", "scripts", "states", "procedures", "progress")


class Sequencer(Device):
    """RUNNING: a sequence goes on; ON: none does; ALARM: the last one has failed, and Status says where and why."""

    green_mode = GreenMode.Asyncio

    OetDevice = device_property(dtype=str, default_value="mid-oet/subarray/01", doc="The device that executes scripts")

    async def init_device(self):
        await super().init_device()
        for name in PUSHED:
            self.set_change_event(name, True, False)
            self.set_archive_event(name, True, False)
        self._oet = AsyncOetClient(self.OetDevice, user=self.get_name())
        self._sequence = None  # the task that runs it
        self._procedure = None  # of the step that runs
        self._is_stopping = False
        self._scripts, self._states, self._procedures, self._progress = [], [], [], 0.0
        self._enter(DevState.ON, "Ready.")

    async def delete_device(self):
        if self._sequence:
            await self.Stop()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sequence
        await self._oet.close()
        await super().delete_device()

    # -- what there is to be seen

    @attribute(dtype=(str,), max_dim_x=100, doc="The scripts of the sequence")
    async def scripts(self):
        return self._scripts

    @attribute(dtype=(str,), max_dim_x=100, doc="How each step is: WAITING, or a state of its procedure")
    async def states(self):
        return self._states

    @attribute(dtype=(int,), max_dim_x=100, doc="The id of each step's procedure; 0: none yet")
    async def procedures(self):
        return self._procedures

    @attribute(dtype=float, unit="%", doc="How far the whole sequence has come")
    async def progress(self):
        return self._progress

    # -- what there is to be asked for

    @command(dtype_in=(str,), doc_in="Scripts, in their order")
    async def RunScripts(self, scripts):  # noqa: N802 - Tango's names
        """Run scripts one after another, until one fails or is stopped; returns at once."""
        if self._sequence and not self._sequence.done():
            tango.Except.throw_exception("Sequencer_Busy", "a sequence goes on; Stop ends it", "Sequencer.RunScripts")
        self._scripts, self._states = list(scripts), ["WAITING"] * len(scripts)
        self._procedures, self._progress = [0] * len(scripts), 0.0
        self._is_stopping = False
        self._push("scripts", "states", "procedures", "progress")
        self._enter(DevState.RUNNING, f"{len(scripts)} steps to do.")
        self._sequence = asyncio.create_task(self._run())

    @command
    async def Stop(self):  # noqa: N802
        """Stop the step that runs, and begin no other; the OetDevice's abort script follows, if it has one."""
        self._is_stopping = True
        if self._procedure:
            await self._procedure.stop(f"stopped by {self.get_name()}")

    # -- the sequence

    async def _run(self):
        for number, script in enumerate(self._scripts):
            step = f"step {number + 1} of {len(self._scripts)} ({script})"
            if self._is_stopping:
                return self._enter(DevState.ON, f"Stopped before {step}.")
            self._enter(DevState.RUNNING, f"Doing {step}.")
            try:
                await self._do(number, script)
            except ProcedureStopped as stopped:
                return self._enter(DevState.ON, f"Stopped in {step}: {stopped.reason}")
            except (OetError, ValueError) as error:  # refused, failed, or its start came to nothing
                return self._enter(DevState.ALARM, f"Failed in {step}: {error}")
        return self._enter(DevState.ON, "All steps are COMPLETE.")

    async def _do(self, number, script):
        """Run one script; returns when it is COMPLETE, and raises what OetClient raises where it is not."""
        self._procedure = await self._oet.run(script)
        self._procedures[number] = self._procedure.id
        self._push("procedures")
        followers = [asyncio.create_task(each(number)) for each in (self._follow_states, self._follow_progress)]
        try:
            if self._is_stopping:  # while it was being asked for
                await self.Stop()
            await self._procedure.wait()
        finally:
            for follower in followers:
                follower.cancel()
            self._show_state(number, (await self._procedure.state()).value)
            self._procedure = None
        self._show_progress(number, 100.0)

    async def _follow_states(self, number):
        async for event in self._procedure.events():
            self._show_state(number, event.state.value)

    async def _follow_progress(self, number):
        async for progress in self._procedure.follow_progress():
            self._show_progress(number, progress.percent or 0.0)

    def _show_state(self, number, state):
        if self._states[number] != state:
            self._states[number] = state
            self._push("states")

    def _show_progress(self, number, percent):
        self._progress = (100 * number + percent) / len(self._scripts)
        self._push("progress")

    def _enter(self, state, status):
        self.set_state(state)
        self.set_status(status)
        self._push("State", "Status")

    def _push(self, *names):
        for name in names:
            values = [] if name in ("State", "Status") else [getattr(self, f"_{name}")]
            self.push_change_event(name, *values)
            self.push_archive_event(name, *values)


if __name__ == "__main__":
    run([Sequencer], args=["Sequencer", *sys.argv[1:]], green_mode=GreenMode.Asyncio)
