"""The Dockerfile and the locks of the image, as files: what they say, and that they say what others say."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ska_oet_device import __version__

PROJECT = Path(__file__).parents[2]
DOCKERFILE = PROJECT / "Dockerfile"
HADOLINT = PROJECT / ".venv-deploy/bin/hadolint"
LOCKS = [PROJECT / "deploy/image" / name for name in ("requirements.lock", "build.lock")]
PINS = [PROJECT / "constraints.txt", PROJECT / "tests/telemetry/requirements.txt"]
IN_THE_IMAGE = {"python_version": "3.11", "python_full_version": "3.11.2", "implementation_name": "cpython"}


def applies(requirement: Requirement, extra: str = "") -> bool:
    """Say whether a requirement counts in the image."""
    environment = {**default_environment(), **IN_THE_IMAGE, "extra": extra}
    return requirement.marker is None or Marker(str(requirement.marker)).evaluate(environment)


def pinned_in(path: Path) -> dict[str, str]:
    """Return {package: version} of a file of pins or a lock."""
    pinned = {}
    for line in path.read_text().splitlines():
        if "==" in line and not line.startswith("#"):
            requirement = Requirement(line.rstrip("\\ "))
            if applies(requirement):
                pinned[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return pinned


def declared() -> dict[str, list[str]]:
    """Return what pyproject.toml asks for: of the project itself, and by extra."""
    text = (PROJECT / "pyproject.toml").read_text()
    tables = {"": "dependencies", **{name: name for name in ("image", "postgresql", "telemetry")}, "build": "requires"}
    found = {}
    for extra, name in tables.items():
        match = re.search(rf"^{name} = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL)
        assert match, name
        found[extra] = re.findall(r'"([^"]+)"', match[1])
    return found


def asked_for() -> list[Requirement]:
    """Return what the image is to hold, the extras that the extra `image` names taken apart."""
    lists = declared()
    requirements = [Requirement(text) for text in lists[""]]
    for text in lists["image"]:
        requirement = Requirement(text)
        if requirement.name == "ska-oet-device":
            requirements += [Requirement(each) for extra in requirement.extras for each in lists[extra]]
        else:
            requirements.append(requirement)
    return [requirement for requirement in requirements if applies(requirement)]


def needed_by(requirement: Requirement) -> list[Requirement]:
    """Return what a package needs, if it is installed beside these tests."""
    try:
        needs = importlib.metadata.requires(requirement.name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    needed = [Requirement(each) for each in needs]
    return [each for each in needed if any(applies(each, extra) for extra in ("", *requirement.extras))]


class TestDockerfile:
    @pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is not installed: make .venv-deploy/.up-to-date")
    def test_hadolint_finds_nothing(self):
        done = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")

    def test_each_rule_that_is_ignored_is_explained(self):
        text = DOCKERFILE.read_text()
        ignored = re.findall(r"hadolint ignore=(\w+)", text)
        assert [rule for rule in ignored if f"# {rule} (" not in text] == []

    def test_it_names_this_version(self):
        assert f"ARG VERSION={__version__}\n" in DOCKERFILE.read_text()

    def test_it_names_no_host(self):
        named = re.findall(r"\b(?:[\w-]+\.)+(?:io|org|com|net)\b(?=[/:])", DOCKERFILE.read_text())
        assert named == []


class TestLocks:
    @pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
    def test_a_lock_has_versions_and_hashes_and_names_no_registry(self, lock):
        line = re.compile(r"[a-z0-9-]+==[\w.]+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
        assert [each for each in lock.read_text().splitlines() if not line.fullmatch(each)] == []

    def test_the_image_has_the_versions_that_the_tests_run_with(self):
        pins = {name: version for path in PINS for name, version in pinned_in(path).items()}
        others = {}
        for lock in LOCKS:
            others |= {name: version for name, version in pinned_in(lock).items() if pins.get(name) != version}
        assert others == {}, "make lock writes the locks anew"

    def test_the_lock_holds_what_the_project_asks_for(self):
        locked = pinned_in(LOCKS[0])
        missing = [
            str(requirement)
            for requirement in asked_for()
            if not requirement.specifier.contains(
                locked.get(canonicalize_name(requirement.name), "0"), prereleases=True
            )
        ]
        assert missing == [], "make lock writes the lock anew"

    def test_the_lock_holds_what_that_needs_in_turn(self):
        locked = pinned_in(LOCKS[0])
        waiting, seen, missing = asked_for(), set(), set()
        while waiting:
            requirement = waiting.pop()
            if str(requirement) in seen:
                continue
            seen.add(str(requirement))
            if canonicalize_name(requirement.name) not in locked:
                missing.add(requirement.name)
            waiting += needed_by(requirement)
        assert len(seen) > 30
        assert missing == set(), "make lock writes the lock anew"

    def test_the_lock_of_the_build_holds_what_builds_the_project(self):
        locked = pinned_in(LOCKS[1])
        for requirement in map(Requirement, declared()["build"]):
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])
