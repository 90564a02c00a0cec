"""A server whose main is process 1 of a PID namespace: of one made by unshare(1), and of a container of the image."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from .images import Image
from .tango_server import Database, Oet, Server, program
from .waiting import wait_until

END_POINT = {"ORBendPoint": "giop:tcp:127.0.0.1:0"}
_MIB = 1024**2

# crun refuses to work where there are cgroups of both versions, also if it is to make none: it is shown one version.
_WITH_CGROUPS_2 = """
if [ -d /sys/fs/cgroup/unified ]; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi
exec "$@"
"""


class ProcessOne(Server):
    """The command that makes the namespace, and main in it, whose ids are those of this machine."""

    def main(self) -> psutil.Process:
        """Return main as soon as it is there."""
        return wait_until(self._titled_main, 30, "main")

    def _titled_main(self) -> psutil.Process | None:
        for process in self.tree()[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                if _id_inside(process.pid) == 1 and any("OetDevice" in word for word in process.cmdline()):
                    return process
        return None

    def leftovers(self, before: list[psutil.Process]) -> list[psutil.Process]:
        return [process for process in before if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    def signal(self, signum: int) -> None:
        """Send main a signal, from outside of its namespace."""
        self.main().send_signal(signum)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the server, in its namespaces, as a stranger to main."""
        enter = ["nsenter", "--target", str(self.main().pid), "--pid", "--mount", "--"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=60)

    def processes_inside(self) -> list[psutil.Process]:
        """Return main and all that descends from it."""
        return [self.main(), *self.main().children(recursive=True)]

    def process_inside(self, pid: int) -> psutil.Process:
        """Return the process that has this id in the namespace."""
        return next(process for process in self.processes_inside() if _id_inside(process.pid) == pid)

    def children(self) -> list[psutil.Process]:
        """Return the processes whose parent main is, dead ones among them."""
        return self.main().children()


def _id_inside(pid: int) -> int:
    """Return the id that a process has in the innermost namespace that it is in."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1])


def by_unshare(instance: str, folder: Path, host: str) -> ProcessOne:
    """Start a server of this virtual environment in a PID namespace of its own."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", program("OetDevice")]
    return ProcessOne([instance], folder, host, command, END_POINT)


@dataclass(frozen=True)
class Pod:
    """What Kubernetes gives a container besides its image.

    :param group: fsGroup: whose the state volume is
    :param read: folders of this machine that are there under their own names, to be read
    :param written: the same, to be written as well
    """

    uid: int = 1000
    gid: int = 1000
    group: int = 1000
    name: str = "oet-0"
    read: tuple[Path, ...] = ()
    written: tuple[Path, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


class Container(ProcessOne):
    """A container of the image as Kubernetes runs it: not root, without capabilities, its root file system read-only.

    It has the host's network.  crun makes it, which containerd and CRI-O may run.
    """

    def __init__(self, image: Image, arguments: Sequence[str], folder: Path, host: str, pod: Pod) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._id = f"oet-test-{uuid.uuid4().hex}"
        self._states = folder / "crun"
        self._bundle = bundle = folder / f"bundle-{self._id}"
        bundle.mkdir()
        state = folder / "state"
        state.mkdir(exist_ok=True)
        os.chown(state, 0, pod.group)
        state.chmod(0o2770)
        hosts = bundle / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n127.0.0.1 {pod.name}\n")
        self._process = _process(image, arguments, {"TANGO_HOST": host, **END_POINT, **pod.environment}, pod)
        mounts = [*_mounts(pod), _bind("/etc/hosts", hosts), _bind("/var/lib/oet", state, "rw")]
        (bundle / "config.json").write_text(json.dumps(_configuration(image, self._process, mounts, pod)))
        command = [*self._crun(), "run", "--bundle", str(bundle), self._id]
        super().__init__([], folder, host, command)

    def _crun(self) -> list[str]:
        hidden = ["unshare", "--mount", "sh", "-c", _WITH_CGROUPS_2, "sh"]
        return [*hidden, "crun", "--cgroup-manager", "disabled", "--root", str(self._states)]

    def signal(self, signum: int) -> None:
        """Send process 1 a signal as the kubelet has it sent."""
        subprocess.run([*self._crun(), "kill", self._id, str(int(signum))], check=True)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `kubectl exec` does."""
        asked = self._bundle / f"exec-{uuid.uuid4().hex}.json"
        asked.write_text(json.dumps({**self._process, "args": command}))
        enter = [*self._crun(), "exec", "--process", str(asked), self._id]
        return subprocess.run(enter, capture_output=True, text=True, timeout=60)

    def clean_up(self) -> None:
        subprocess.run([*self._crun(), "delete", "--force", self._id], capture_output=True)
        super().clean_up()


def _process(image: Image, arguments: Sequence[str], environment: dict[str, str], pod: Pod) -> dict[str, Any]:
    variables = {**dict(each.split("=", 1) for each in image.config["Env"]), "HOSTNAME": pod.name, **environment}
    return {
        "user": {"uid": pod.uid, "gid": pod.gid, "additionalGids": [pod.group]},
        "args": [*image.config["Entrypoint"], *(arguments or image.config["Cmd"])],
        "env": [f"{name}={value}" for name, value in variables.items()],
        "cwd": image.config["WorkingDir"],
        "capabilities": {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")},
        "noNewPrivileges": True,
    }


def _configuration(image: Image, process: dict[str, Any], mounts: list[dict[str, Any]], pod: Pod) -> dict[str, Any]:
    """Return the runtime's configuration, as the OCI's runtime specification has it."""
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": str(image.root), "readonly": True},
        "hostname": pod.name,
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def _mounts(pod: Pod) -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*safe, f"size={64 * _MIB}"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
        *(_bind(str(folder), folder) for folder in pod.read),
        *(_bind(str(folder), folder, "rw") for folder in pod.written),
    ]


def _bind(inside: str, outside: Path, access: str = "ro") -> dict[str, Any]:
    return {"destination": inside, "type": "bind", "source": str(outside), "options": ["rbind", access]}


@contextlib.contextmanager
def served_by(server: ProcessOne, database: Database, device: str) -> Iterator[Oet]:
    """Yield the device of a server that was started; whatever becomes of that, nothing of it is left."""
    try:
        oet = Oet(database, device, server)
        try:
            yield oet
        finally:
            oet.close()
    finally:
        server.clean_up()
