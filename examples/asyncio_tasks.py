"""asyncio: init and main are coroutines of one loop; a Stop cancels main, and each task cleans up."""

import asyncio

from ska_oet_device.scripting import report_progress

watch = None


async def init():
    global watch
    watch = asyncio.create_task(watch_weather())  # goes on while main runs


async def main(places=("M31", "M33"), dwell=1.0):
    await asyncio.gather(*(observe(place, dwell) for place in places))
    watch.cancel()


async def watch_weather():
    try:
        while True:
            await asyncio.sleep(0.5)
    finally:
        print("weather watch ended")


async def observe(place, dwell):
    try:
        report_progress(0, f"observing {place}")
        await asyncio.sleep(dwell)
        print(f"{place} observed")
    finally:
        await asyncio.sleep(0.01)  # a clean-up may wait
        print(f"{place} parked")
