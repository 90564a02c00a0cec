"""A systemd that is process 1 of namespaces of its own, and runs the units of deploy/systemd as a site's host does.

What it sees of the file system is this machine's, but for these: no units but ours, /etc/oet, a /var/lib of its own, a
user `oet`, and at /opt/oet the interpreter and the packages of this environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from .leaks import outlives_the_test
from .waiting import wait_until

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
USER = 64_301  # nobody else's, here
_SYSTEMD = Path("/usr/lib/systemd/systemd")
_NEEDED = ("systemctl", "unshare", "nsenter", "setpriv", "mount")
_TARGETS = ("sysinit", "basic", "shutdown", "multi-user", "network-online", "time-sync")  # empty ones

_BOOT = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cp -a /etc /run/etc
rm -rf /run/etc/systemd
cp -r {folder}/etc/. /run/etc/
mount --bind /run/etc /etc
mount -t tmpfs tmpfs /opt
mkdir -p /opt/oet /opt/python
mount --bind {folder}/oet /opt/oet
mount --bind {base} /opt/python
mount --bind {packages} /opt/oet/packages
mount --bind {source} /opt/oet/src
mount -t tmpfs tmpfs /var/lib
exec env -i container=oet-test PATH=$PATH SYSTEMD_UNIT_PATH=/etc/systemd/system SYSTEMD_LOG_TARGET=console \\
  {systemd} --system --unit=basic.target --show-status=no
"""


def why_not() -> str:
    """Return why no systemd can be run here; empty if one can."""
    if os.getuid() != 0:
        return "only root may run a systemd in namespaces"
    if not _SYSTEMD.exists() or any(shutil.which(name) is None for name in _NEEDED):
        return "systemd, util-linux or mount is not installed: tests/support/install_deploy.sh"
    if _cgroup2() is None:
        return "there is no cgroup v2 that may be written to"
    return ""


def _cgroup2() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(where, os.W_OK):
            return Path(where)
    return None


class SystemdHost:
    """One such host.  Processes of the units see the machine's network, and so its 127.0.0.1."""

    def __init__(self, tango_host: str) -> None:
        """Boot it.

        :param tango_host: for the environment file of all servers
        """
        self.folder = Path(tempfile.mkdtemp(prefix="oet-systemd-", dir="/var/tmp"))  # pytest's is closed to other users
        self.folder.chmod(0o755)
        self.log = self.folder / "log"
        parent = _cgroup2()
        assert parent is not None
        self._cgroup = parent / f"oet-test-{uuid.uuid4()}"
        try:
            self._lay_out(tango_host)
            self._boot()
        except BaseException:
            self.close()
            raise

    def _lay_out(self, tango_host: str) -> None:
        etc = self.folder / "etc"
        units = etc / "systemd" / "system"
        shutil.copytree(UNITS, units)
        for name in _TARGETS:
            (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\nDefaultDependencies=no\n")
        self._configure(tango_host)
        for name, line in (
            ("passwd", f"oet:x:{USER}:{USER}::/nonexistent:/bin/false\n"),
            ("group", f"oet:x:{USER}:\n"),
        ):
            (etc / name).write_text(Path("/etc", name).read_text() + line)
        _environment(self.folder / "oet")

    def _configure(self, tango_host: str) -> None:
        """Write what a site writes: the environment file that the repository has, with other values."""
        text = (UNITS / "oet-device.env").read_text()
        text, hosts = re.subn(r"^TANGO_HOST=.*$", f"TANGO_HOST={tango_host}", text, flags=re.MULTILINE)
        text, addresses = re.subn(r"^ORBendPoint=.*$", "ORBendPoint=giop:tcp:127.0.0.1:0", text, flags=re.MULTILINE)
        assert (hosts, addresses) == (1, 1)
        library = "LD_LIBRARY_PATH=/opt/python/lib\n" if sysconfig.get_config_var("Py_ENABLE_SHARED") else ""
        site = self.folder / "etc" / "oet"
        site.mkdir(parents=True)
        (site / "oet-device.env").write_text(text + library)

    def _boot(self) -> None:
        self._cgroup.mkdir()
        (self.folder / "boot.sh").write_text(
            _BOOT.format(
                folder=self.folder,
                base=sys.base_prefix,
                packages=sysconfig.get_path("purelib"),
                source=ROOT / "src",
                systemd=_SYSTEMD,
            )
        )
        join = f'echo $$ >{self._cgroup}/cgroup.procs; exec "$@"'
        dies_with_us = ["setpriv", "--pdeathsig", "KILL"]
        namespaces = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child"]
        with self.log.open("wb") as log:
            self._unshare = subprocess.Popen(
                [*dies_with_us, "sh", "-c", join, "sh", *namespaces, "sh", str(self.folder / "boot.sh")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(
                lambda: self.systemctl("is-active", "basic.target").stdout == "active\n", 30, "systemd has booted"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()}") from None

    @property
    def _pid(self) -> int:
        """The process that is number 1 there."""
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        return int(children[0]) if children else self._unshare.pid

    def run(self, *command: str, seconds: float = 100) -> subprocess.CompletedProcess[str]:
        """Run a program on that host, as root."""
        enter = ["nsenter", "-t", str(self._pid), "-m", "-p", "-i", "-C"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=seconds)

    def systemctl(self, *arguments: str, seconds: float = 100) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", *arguments, seconds=seconds)

    def shows(self, unit: str, name: str) -> str:
        """Return a property of a unit, as `systemctl show` tells it."""
        return self.systemctl("show", "--value", "-p", name, unit).stdout.strip()

    def processes(self, unit: str) -> list[int]:
        """Return the processes of a unit, by the ids that they have outside."""
        group = self.shows(unit, "ControlGroup")
        file = Path(f"{self._cgroup}{group}/cgroup.procs")
        return [int(pid) for pid in file.read_text().split()] if group and file.exists() else []

    def close(self) -> None:
        """End all that is there, and remove what it has left; may be called twice."""
        process = getattr(self, "_unshare", None)
        if process is not None:
            process.kill()
            process.wait()
        if self._cgroup.exists():
            with contextlib.suppress(OSError):
                (self._cgroup / "cgroup.kill").write_text("1")
            wait_until(self._is_empty, 20, "no process is left there")
            for group in sorted(self._cgroup.rglob("*/"), reverse=True):
                group.rmdir()
            self._cgroup.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_empty(self) -> bool:
        return "populated 0" in (self._cgroup / "cgroup.events").read_text()


def _environment(folder: Path) -> None:
    """Make a virtual environment of /opt/oet, whose interpreter and packages are this process's."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name in ("packages", "src"):
        (folder / name).mkdir()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path("/opt/python/bin")
    (folder / "pyvenv.cfg").write_text(f"home = {base}\ninclude-system-site-packages = false\n")
    (programs / "python").symlink_to(base / version)
    packages = folder / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (packages / "here.pth").write_text("/opt/oet/src\n/opt/oet/packages\n")
    server = Path(sys.executable).with_name("OetDevice").read_text()
    (programs / "OetDevice").write_text(re.sub(r"^#!.*$", "#!/opt/oet/bin/python", server, count=1, flags=re.MULTILINE))
    (programs / "OetDevice").chmod(0o755)


@contextlib.contextmanager
def systemd_host(tango_host: str) -> Iterator[SystemdHost]:
    """Yield a host that has booted; skips the test where none can be had."""
    if why_not():
        pytest.skip(why_not())
    with outlives_the_test():
        host = SystemdHost(tango_host)
    try:
        yield host
    finally:
        host.close()
