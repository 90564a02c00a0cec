"""Hosts on one machine: each is a network, a host name, processes and mounts of its own, and all hang on one switch.

Nothing of them is in the machine's own network: the switch is a namespace, too.  A host lives as long as its first
process, which ends when this process of pytest does, however that happens; the kernel then kills all processes of the
host.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil

from .waiting import wait_until

NETWORK = "10.77.0"
_PREFIX = "oet-hosts-"
_NAMESPACES = ("--net", "--uts", "--ipc", "--mount")
# The first process of a host.  Those that fall to it are reaped by the kernel, since it ignores SIGCHLD.
_FIRST = """
set -e
hostname "$1"
mount --bind "$2" /etc/hosts
mount -t tmpfs tmpfs /dev/shm
mkdir -p -m 700 /tmp/omni-root
mount -t tmpfs -o mode=700 tmpfs /tmp/omni-root
ip link set lo up
echo ready
trap "" CHLD
exec cat
"""


def why_not() -> str:
    """Return why there can be no hosts here; empty if there can."""
    if os.getuid() != 0:
        return "only root may make network namespaces"
    missing = [name for name in ("unshare", "nsenter", "ip", "ss") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} must be installed: tests/support/install_hosts.sh"
    tried = subprocess.run(["unshare", *_NAMESPACES, "ip", "link"], capture_output=True, text=True)
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else ""


class Host:
    """One host: `within` is what a command line begins with that is to run there."""

    def __init__(self, name: str, address: str, hosts_file: Path, *, has_own_pids: bool = True) -> None:
        """Start its first process; it has no network yet.

        :param has_own_pids: whether it sees its own processes alone; otherwise it shares them with the machine
        """
        self.name = name
        self.address = address
        own = [*_NAMESPACES, *(["--pid", "--fork", "--mount-proc"] if has_own_pids else [])]
        self._holder = subprocess.Popen(
            ["unshare", *own, "sh", "-c", _FIRST, "sh", name, str(hosts_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n", f"host {name} does not start"
        self.has_own_pids = has_own_pids
        self.first = inner(self._holder, has_own_pids)
        entered = ("--net", "--uts", "--ipc", "--mount", *(("--pid",) if has_own_pids else ()))
        self.within = ["nsenter", f"--target={self.first.pid}", *entered, "--"]

    def run(self, *command: str, check: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command there, and wait for it."""
        done = subprocess.run([*self.within, *command], capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"{command} on {self.name}: {done.stdout}{done.stderr}"
        return done

    def turn_off(self) -> None:
        """End it as a loss of power does: all its processes at once, and its network with them."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.first.kill()
        self.close()

    def close(self) -> None:
        """Turn it off; may be called again."""
        for pipe in (self._holder.stdin, self._holder.stdout):
            if pipe is not None:
                pipe.close()
        self._holder.wait(20)


def inner(process: subprocess.Popen[bytes], is_forked: bool = True) -> psutil.Process:
    """Return the process that unshare or nsenter has started in a PID namespace, or has become where there is none."""
    outer = psutil.Process(process.pid)
    if not is_forked:
        return outer
    return wait_until(outer.children, 20, "the process in the namespace")[0]


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, and those below it: nsenter does not hand a SIGKILL on."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


class Network:
    """A switch and the hosts on it, which know each other by name."""

    def __init__(self, *names: str, sharing_pids: tuple[str, ...] = ()) -> None:
        """Start them all.

        :param sharing_pids: those that have no processes of their own, and see each other's
        """
        _remove_what_is_left()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # which other users may enter: databases' servers do
        self.folder.chmod(0o755)
        self._lock = _locked(self.folder / "lock")
        self._hosts_file = self.folder / "hosts"
        self._addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, 10)}
        lines = [f"{address} {name}" for name, address in self._addresses.items()]
        self._hosts_file.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        self._sharing_pids = sharing_pids
        self.hosts: dict[str, Host] = {}
        self._ports: dict[str, str] = {}
        self._switch: Host | None = None
        try:
            self._switch = Host("switch", "", self._hosts_file)
            self._on_switch("link", "add", "bridge0", "type", "bridge")
            self._on_switch("link", "set", "bridge0", "up")
            for name in names:
                self.turn_on(name)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def _on_switch(self, *arguments: str) -> None:
        assert self._switch is not None
        self._switch.run("ip", *arguments)

    def turn_on(self, name: str) -> Host:
        """Start a host that is not running, and plug it in."""
        assert self._switch is not None
        shares = name in self._sharing_pids
        host = Host(name, self._addresses[name], self._hosts_file, has_own_pids=not shares)
        self.hosts[name] = host
        port = self._ports[name] = f"port{host.address.rpartition('.')[2]}"
        ends = [f"eth0 netns {host.first.pid} type veth", f"peer name {port} netns {self._switch.first.pid}"]
        # A host of this name that has been turned off may have left its end for a moment.
        wait_until(lambda: not self._switch_has(port), 10, f"{port} of the switch is free")
        subprocess.run(["ip", "link", "add", *" ".join(ends).split()], check=True)
        self._on_switch("link", "set", port, "master", "bridge0", "up")
        host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        return host

    def _switch_has(self, port: str) -> bool:
        assert self._switch is not None
        return self._switch.run("ip", "link", "show", port, check=False).returncode == 0

    def cut_off(self, name: str) -> None:
        """Have whatever is sent from and to a host vanish: its cable is pulled at the switch."""
        self._on_switch("link", "set", self._ports[name], "down")

    def join(self, name: str) -> None:
        """Plug a host in again."""
        self._on_switch("link", "set", self._ports[name], "up")

    @contextlib.contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Have a host cut off meanwhile."""
        self.cut_off(name)
        try:
            yield
        finally:
            self.join(name)

    def close(self) -> None:
        """Turn everything off, and remove what it has left."""
        closing: list[Callable[[], None]] = [host.close for host in (*self.hosts.values(), self._switch) if host]
        with contextlib.ExitStack() as stack:
            stack.callback(self._remove)
            for close in closing:
                stack.callback(close)

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def _locked(path: Path) -> IO[bytes]:
    """Return a file that is locked while this process lives; OSError if somebody else's has it."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _remove_what_is_left() -> None:
    """Remove the folders of processes of pytest that were killed: their locks are free."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(folder / "lock"):
            shutil.rmtree(folder, ignore_errors=True)
