"""A client on another host, which does what a test asks it to."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .hosts import Host, kill_tree
from .waiting import wait_until

_CLIENT = Path(__file__).with_name("host_client.py")
PATIENCE = 60.0  # seconds: a machine that runs other tests is slow
_PAUSE = 0.05  # seconds between two looks by way of another process


class RequestError(Exception):
    """What a client on another host was refused, or did not reach: `reason` and `text`."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason, self.text = reason, text


class Outpost:
    """A process on a host that is a client of devices, and does what it is asked: see `host_client`."""

    def __init__(self, host: Host, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [*host.within, sys.executable, str(_CLIENT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have it do something; RequestError if that fails."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        stdin.flush()
        assert select.select([stdout], [], [], PATIENCE)[0], f"no answer to {do} {arguments}"
        said = json.loads(stdout.readline())
        if "error" in said:
            raise RequestError(*said["error"])
        return said["answer"]

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        kill_tree(self._process)


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE, what: str = "") -> Any:
    """Wait as `wait_until` does, for what it costs something to look at."""

    def found() -> Any:
        value = condition()
        if not value:
            time.sleep(_PAUSE)
        return value

    return wait_until(found, seconds, what)
