"""The event loop of a script: what becomes of its tasks when one of them is interrupted."""

from __future__ import annotations

import asyncio

import pytest

from ska_oet_device.procedure.worker._event_loop import ScriptLoop


def test_a_task_that_ends_with_the_interrupt_does_not_break_off_the_clean_up_of_others() -> None:
    parked: list[str] = []

    async def observe(place: str, interrupt: bool) -> None:
        try:
            if interrupt:
                raise KeyboardInterrupt(place)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0 if interrupt else 0.05)
            parked.append(place)

    async def main() -> None:
        await asyncio.gather(observe("M31", False), observe("M33", True))

    with pytest.raises(KeyboardInterrupt, match="M33"):
        ScriptLoop().run(main())
    assert parked == ["M33", "M31"]
