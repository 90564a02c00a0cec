"""The image, built by buildah from the Dockerfile as it is, without an engine or a registry.

Its base is made by debootstrap, and kept in build/images, which `make clean` removes.  Needs root.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ska_oet_device import __version__

PROJECT = Path(__file__).parents[2]
BASE = "debian:12-slim"
_FOLDER = PROJECT / "build" / "images"
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_IN_THE_BUILD = "/run/secrets/ca.crt"
_PROGRAMS = ("buildah", "crun", "debootstrap")


def why_not() -> str:
    """Return why no image can be built and run here; empty if it can."""
    if os.getuid() != 0:
        return "only root can build an image without an engine"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)} (tests/support/install_deploy.sh)" if missing else ""


@dataclass(frozen=True)
class Image:
    """What was built: its configuration as the OCI has it, its root file system, and how long that took."""

    config: dict[str, Any]
    root: Path
    seconds: float
    commit: str  # of the sources when it was built; empty if they are in no clone


@contextlib.contextmanager
def built_image() -> Iterator[Image]:
    """Build the image, and unpack it; what was unpacked is gone at the end, the base stays.  One at a time."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    tag, root = f"ska-oet-device:{name}", _FOLDER / f"root-{name}"
    store = _Store(_FOLDER)
    try:
        with store.locked():
            store.make()
            store.make_base()
            head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True)
            began = time.monotonic()
            store.build(tag)
            seconds = time.monotonic() - began
            store.unpack(tag, root)
            told = json.loads(store.run("inspect", "--type", "image", tag))
        yield Image(told["OCIv1"]["config"], root, seconds, head.stdout.strip())
    finally:
        shutil.rmtree(root, ignore_errors=True)
        with store.locked():
            store.remove(tag)


class _Store:
    """buildah's storage, in a folder of our own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._policy = folder / "policy.json"
        self._storage = folder / "storage.conf"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def run(self, *arguments: str) -> str:
        """Run buildah; returns what it prints."""
        return self._shell('exec buildah "$@"', *arguments)

    def _shell(self, script: str, *arguments: str) -> str:
        """Run a script where mounts are its own: none is left, however it ends."""
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", script, "sh", *arguments],
            env={
                **os.environ,
                "CONTAINERS_STORAGE_CONF": str(self._storage),
                "BUILDAH_ISOLATION": "chroot",  # no network and no cgroups of its own
                "BUILDER": "buildah",
            },
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{script} {' '.join(arguments)}:\n{done.stdout}"
        return done.stdout.strip()

    def make(self) -> None:
        """Make the storage unless it is there; with overlays, which are quick, where the kernel can have them here."""
        self._policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        try:
            self._set_driver("overlay")
            self.run("images")
        except AssertionError:
            self._set_driver("vfs")
        self.run("rm", "--all")  # of a run that was interrupted
        self.run("rmi", "--prune")

    def _set_driver(self, name: str) -> None:
        folders = {"driver": name, "graphroot": self._folder / f"store-{name}", "runroot": self._folder / "run"}
        self._storage.write_text("[storage]\n" + "".join(f'{key} = "{value}"\n' for key, value in folders.items()))

    def make_base(self) -> None:
        """Make Debian's image, as far as it matters here, unless it is there."""
        if f"localhost/{BASE}" in self.run("images", "--format", "{{.Name}}:{{.Tag}}").split():
            return
        system = self._folder / "system"
        shutil.rmtree(system, ignore_errors=True)  # of one that was interrupted
        try:
            _debootstrap(system)
            container = self.run("from", "scratch")
            self.run("add", "--quiet", container, str(system), "/")
            self.run(
                "commit", "--quiet", "--signature-policy", str(self._policy), "--rm", container, f"localhost/{BASE}"
            )
        finally:
            shutil.rmtree(system, ignore_errors=True)

    def build(self, tag: str) -> None:
        """Build it as `make image` does for a site that has a certificate of its own."""
        secrets = []
        if _CERTIFICATES.exists():
            settings = self._folder / "pip.conf"
            settings.write_text(f"[global]\ncert = {_IN_THE_BUILD}\n")
            secrets = ["--secret", f"id=pip.conf,src={settings}", "--secret", f"id=ca.crt,src={_CERTIFICATES}"]
        network = ["--pull-never", "--network", "host", "--signature-policy", str(self._policy)]
        self._shell('exec deploy/image/build.sh "$@"', "--tag", tag, "--layers=false", *network, *secrets)

    def unpack(self, tag: str, root: Path) -> None:
        """Copy the root file system into a folder."""
        root.mkdir(parents=True)
        container = self.run("from", "--pull-never", "--signature-policy", str(self._policy), tag).split()[-1]
        script = 'folder=$(buildah mount "$1"); cp -a "$folder/." "$2"; buildah umount "$1"; buildah rm "$1"'
        self._shell(script, container, str(root))

    def remove(self, tag: str) -> None:
        """Remove the image, also if it was not made to its end."""
        for name in (tag, f"ska-oet-device:{__version__}"):
            with contextlib.suppress(AssertionError):
                self.run("rmi", "--force", f"localhost/{name}")


def _debootstrap(system: Path) -> None:
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", "bookworm", str(system), _mirror()], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for package in (system / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()


def _mirror() -> str:
    """Return the address of the archive that this machine takes its own packages from."""
    for path in _SOURCES:
        for word in path.read_text().split() if path.exists() else ():
            if word.startswith("http") and "security" not in word and "snapshot" not in word:
                return word
    raise LookupError(f"no archive of Debian's is named in {', '.join(map(str, _SOURCES))}")


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """The image of these sources, built for these tests."""
    if why_not():
        pytest.skip(why_not())
    with built_image() as image:
        yield image
