"""Servers of 0.1.0, and what they have left: tests/durable/data, which `make_earlier_state` has made."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import tango

from .ports import free_port
from .tango_server import Server
from .waiting import wait_until

COMMIT = "c187c4a"
"""The last commit of 0.1.0."""

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "durable" / "data"
ARCHIVE, DUMP, ANSWERS = DATA / "state-0.1.0.tar.xz", DATA / "history-0.1.0.sql.gz", DATA / "answers-0.1.0.json.gz"

DEVICES = ["mid-oet/subarray/01", "mid-oet/subarray/02"]
"""Devices of a server that was killed."""

ENDED_WELL = "tango/mid-oet/subarray/03"
"""The device of a Tango database, whose server has ended well."""

UNHEARD = "mid-oet/subarray/04"
"""The device of a server without a database that died with something that it could tell to nobody."""

PROPERTIES = {"AbortScript": "file://abort.py", "SpareWorkers": "1"}

SCRIPTS = {
    "good.py": "def main(*args, dwell=0.0, **kwargs):\n    print('done \u00e9\u20ac', len(args))\n\n\n"
    "def named(a=None):\n    return a\n\n\n__all__ = ['main', 'named']\n",
    "raises.py": "def main(*args):\n    raise ValueError('no such receiver \u00e9\u20ac')\n",
    "slow.py": "import time\n\n\ndef init():\n    time.sleep(3)\n\n\ndef main():\n    pass\n\n\n"
    "def named(a=None):\n    return a\n\n\n__all__ = ['main', 'named']\n",
    "becomes_another.py": "import os\n\n\ndef main():\n    os.execvp('setpriv', SLEEP)\n",
    "waits.py": "import time\n\n\ndef main(seconds=600.0):\n    time.sleep(seconds)\n",
    "abort.py": "def init(subarray_id=0):\n    pass\n\n\ndef main(*args, **kwargs):\n    print('parked')\n",
}


def source_of_0_1_0(folder: Path) -> Path:
    """Put the source of 0.1.0 into a folder; skips the test where the repository's past is not there."""
    done = subprocess.run(["git", "-C", str(ROOT), "archive", COMMIT, "src"], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"NOT TESTED: commit {COMMIT} is not here: git fetch --unshallow gets it")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=done.stdout, check=True)
    return folder / "src"


def answers(kind: str) -> dict[str, dict[str, Any]]:
    """Return what 0.1.0 has answered, {device: {what: answer}}.

    :param kind: of database: sqlite or postgresql
    """
    found: dict[str, dict[str, Any]] = json.loads(gzip.decompress(ANSWERS.read_bytes()))[kind]
    return found


def unpack_state(folder: Path) -> Path:
    """Unpack the state folder, as root and the killed servers have left it; returns where it is."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder / "state"


class EarlierServer:
    """A server without a Tango database, or of one; of another version if `source` names one."""

    def __init__(
        self,
        source: Path | None,
        folder: Path,
        state: Path,
        devices: Sequence[str],
        properties: Mapping[str, str],
        *,
        tango_host: str | None = None,
        instance: str = "bare",
        prefix: Sequence[str] = (),
    ) -> None:
        """Start it.

        :param source: the sources of another version; None: this one
        :param folder: for its log and its properties
        :param state: the state folder
        :param properties: of each device, where there is no Tango database
        :param prefix: a command that becomes the server
        """
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        arguments = [instance, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
        if tango_host is None:
            file = folder / "properties"
            lines = [f"OetDevice/{instance}/DEVICE/OetDevice: " + ", ".join(f'"{each}"' for each in devices)]
            lines += [f"{each}->{name}: {json.dumps(value)}" for each in devices for name, value in properties.items()]
            file.write_text("\n".join(lines) + "\n")
            arguments.insert(1, f"-file={file}")
        python_path = {"PYTHONPATH": str(source)} if source is not None else {}
        safe_path = ["-P"] if sys.version_info >= (3, 11) else []
        self._prefix = f"tango://{tango_host or f'127.0.0.1:{port}'}/"
        self._suffix = "" if tango_host else "#dbase=no"
        command = [*prefix, sys.executable, *safe_path, "-m", "ska_oet_device"]
        environment = {**python_path, "STATE_DIRECTORY": str(state)}
        self.server = Server(arguments, folder, tango_host, command, environment)

    def proxy(self, device: str, seconds: float = 90.0) -> tango.DeviceProxy:
        """Return a client of a device, as soon as that answers."""

        def connected() -> tango.DeviceProxy | None:
            if self.server.has_ended:
                raise RuntimeError(f"the server has ended\n{self.server.log_text()}")
            try:
                found = tango.DeviceProxy(f"{self._prefix}{device}{self._suffix}")
                return found if found.state() != tango.DevState.INIT else None
            except tango.DevFailed:
                return None

        return wait_until(connected, seconds, f"{device} answers\n{self.server.log_text()[-3000:]}")

    def end(self) -> None:
        """Kill it, whatever it is doing, and all that it has started."""
        self.server.clean_up()
