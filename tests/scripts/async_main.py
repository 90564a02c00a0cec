"""Its main is a coroutine."""

import asyncio
from pathlib import Path


async def main(path=None, seconds=0.001):
    await asyncio.sleep(seconds)
    if path:
        Path(path).write_text("awaited")


async def fails():
    await asyncio.sleep(0)
    raise ValueError("in a coroutine")
