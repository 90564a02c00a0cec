"""Servers without a Tango database, of which there may be several with one device's name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .durable import QUICK
from .ports import free_port
from .tango_server import FIRST, Oet, Server, program


class Bare:
    """A server without a Tango database, whose properties are in a file."""

    def __init__(self, folder: Path, state: Path, *, host: str = "", **properties: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        file = folder / "properties"
        lines = [f"{FIRST}->{name}: {json.dumps(str(value))}\n" for name, value in {**QUICK, **properties}.items()]
        file.write_text(f'OetDevice/bare/DEVICE/OetDevice: "{FIRST}"\n' + "".join(lines))
        command = [program("OetDevice")]
        if host:  # another host, as far as its name goes
            command = ["unshare", "--uts", "sh", "-c", f'hostname {host} && exec "$@"', "sh", *command]
        arguments = ["bare", f"-file={file}", "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
        self.url = f"tango://127.0.0.1:{port}/{FIRST}#dbase=no"
        self.server = Server(arguments, folder, None, command, {"STATE_DIRECTORY": str(state)})

    def client(self) -> Oet:
        return Oet(None, FIRST, self.server, self.url)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Callable[..., Bare]]:
    """Return a function that starts servers without a database; all are ended."""
    made: list[Bare] = []

    def start(state: Path, **more: Any) -> Bare:
        made.append(Bare(tmp_path / f"bare-{len(made)}", state, **more))
        return made[-1]

    yield start
    for each in made:
        each.server.clean_up()
