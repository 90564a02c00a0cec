"""trio: a Stop cancels the nursery, and each task cleans up."""

import signal

import trio

from ska_oet_device.scripting import report_progress


def main(places=("M31", "M33"), dwell=1.0):
    trio.run(observe_all, places, dwell)


async def observe_all(places, dwell):
    async with trio.open_nursery() as nursery:
        await nursery.start(cancel_at_a_stop, nursery.cancel_scope)
        async with trio.open_nursery() as observing:
            for place in places:
                observing.start_soon(observe, place, dwell)
        nursery.cancel_scope.cancel()  # all is done: nobody need wait for a Stop


async def cancel_at_a_stop(scope, task_status):
    with trio.open_signal_receiver(signal.SIGTERM) as stops:
        task_status.started()
        async for _ in stops:
            scope.cancel()


async def observe(place, dwell):
    try:
        report_progress(0, f"observing {place}")
        await trio.sleep(dwell)
        print(f"{place} observed")
    finally:
        with trio.CancelScope(shield=True):  # a clean-up that waits
            await trio.sleep(0.01)
        print(f"{place} parked")
