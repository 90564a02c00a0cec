"""Devices that have scripts run: their commands call the client."""

from __future__ import annotations

import sys

from tango import GreenMode
from tango.server import Device, command, run

from ska_oet_device.client import AsyncOetClient, OetClient


class Sequencer(Device):
    """Its command returns when the script has."""

    def init_device(self) -> None:
        super().init_device()
        self.client = OetClient(sys.argv[2])

    @command(dtype_in=str, dtype_out=str)
    def Observe(self, script: str) -> str:
        return str(self.client.run(script, 7).wait(timeout=20).result)

    def delete_device(self) -> None:
        self.client.close()


class AsyncSequencer(Device):
    """The same, in PyTango's asyncio green mode."""

    green_mode = GreenMode.Asyncio

    async def init_device(self) -> None:
        await super().init_device()
        self.client = AsyncOetClient(sys.argv[2])

    @command(dtype_in=str, dtype_out=str)
    async def Observe(self, script: str) -> str:
        procedure = await self.client.run(script, 7)
        return str((await procedure.wait(timeout=20)).result)

    async def delete_device(self) -> None:
        await self.client.close()


if __name__ == "__main__":
    kind = {"Sequencer": Sequencer, "AsyncSequencer": AsyncSequencer}[sys.argv[1]]
    run((kind,), args=[kind.__name__, "1", *sys.argv[3:]])
