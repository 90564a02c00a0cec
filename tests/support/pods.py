"""What a rendered pod has in it, run here as a container would run it: its commands, its environment, its files."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .ports import free_port
from .tango_server import program

PROGRAMS_MOUNT = "/etc/ska-oet-device"
STATE_MOUNT = "/var/lib/oet"


def environment_of(container: Mapping[str, Any], told: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a container as Kubernetes makes them: `$(NAME)` stands for what was said above it.

    :param told: what is known at run time alone (the pod's address, Secrets), by the variables' names
    """
    environment: dict[str, str] = {}
    for variable in container["env"]:
        text = told[variable["name"]] if "valueFrom" in variable else variable.get("value", "")
        environment[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda found: environment.get(found[1], found[0]), text)
    return environment


def fixed_ports(number: int) -> list[int]:
    """Return ports that are free, and that the kernel gives to no client: a server may take them later."""
    return [free_port() for _ in range(number)]


class Mounts:
    """Folders of this machine in the place of a container's."""

    def __init__(self, rendered: Sequence[Mapping[str, Any]], folder: Path) -> None:
        """Put the content of all ConfigMaps there."""
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir(parents=True, exist_ok=True)
        for each in rendered:
            if each["kind"] == "ConfigMap":
                for name, text in each["data"].items():
                    (self.programs / name).write_text(text)
        (folder / "home").mkdir(exist_ok=True)
        (folder / "tmp").mkdir(exist_ok=True)

    def command(self, container: Mapping[str, Any]) -> list[str]:
        """Return what a container, or a probe, runs, with the paths of here."""
        return [text.replace(PROGRAMS_MOUNT, str(self.programs)) for text in container["command"]]

    def environment(self, container: Mapping[str, Any], **told: str) -> dict[str, str]:
        """Return a container's variables, with the paths of here."""
        own = environment_of(container, {"POD_IP": "127.0.0.1", **told})
        path = f"{Path(program('oet')).parent}:{os.environ['PATH']}"
        here = {"HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp"), "PATH": path}
        return {**own, **here}

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start a command; its output is to be read."""
        inherited = {name: text for name, text in os.environ.items() if name != "TANGO_HOST"}
        return subprocess.Popen(
            command,
            env={**inherited, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
        )

    def run(self, command: Sequence[str], environment: Mapping[str, str], seconds: float = 90) -> tuple[int, str]:
        """Run a command; returns its exit status, and what it has written."""
        process = self.start(command, environment)
        try:
            output, _ = process.communicate(timeout=seconds)
        finally:
            process.kill()
            process.wait()
        return process.returncode, output
