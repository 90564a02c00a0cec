"""The steps by which the image is made, in an empty folder: for whoever has no image, and where none can be built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ska_oet_device import __version__

PROJECT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "src")

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the lock is for the image's Python, which is 3.11"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """An environment that was made from the locks and the sources that the image is made of, and nothing else."""
    folder = tmp_path_factory.mktemp("steps")
    for name in SOURCES:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder)
    for lock in ("build.lock", "requirements.lock"):
        shutil.copy(PROJECT / "deploy/image" / lock, folder)
    _run(folder, sys.executable, "-m", "venv", "tools")
    _run(folder, sys.executable, "-m", "venv", "--without-pip", "oet")
    pip = ["tools/bin/python", "-m", "pip"]
    ours = [*pip, "--python", "oet/bin/python", "install"]
    _run(folder, *pip, "install", "--quiet", "--require-hashes", "--requirement", "build.lock")
    locked = ["--quiet", "--require-hashes", "--only-binary", ":all:", "--requirement", "requirements.lock"]
    _run(folder, *ours, *locked)
    offline = ["--quiet", "--no-index", "--no-deps"]
    _run(folder, *pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", "dist", ".")
    (wheel,) = (folder / "dist").glob("*.whl")
    _run(folder, *ours, *offline, str(wheel))
    return folder


def _run(folder: Path, *command: str) -> str:
    # pip is to know nothing of the pins of the tests: the lock has its own.
    environment = {name: value for name, value in os.environ.items() if name not in ("PIP_CONSTRAINT", "PYTHONPATH")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


class TestSteps:
    def test_the_programs_are_there_and_say_their_version(self, installed):
        assert _run(installed, "oet/bin/oet", "--version") == f"oet {__version__}\n"
        assert "OetDevice" in _run(installed, "oet/bin/OetDevice", "--help")
        assert "Usage: json2tango" in _run(installed, "oet/bin/json2tango", "--help")

    def test_the_steps_are_those_of_the_dockerfile(self):
        """What differs is where things are, and that nothing of an image is left out to be small."""
        text = re.sub(r"\\\n\s*", "", (PROJECT / "Dockerfile").read_text())
        for step in (
            "python3 -m venv --without-pip",
            "install --require-hashes --requirement build.lock",
            "install --require-hashes --only-binary :all: --no-compile --requirement requirements.lock",
            "wheel --no-index --no-deps --no-build-isolation --wheel-dir dist .",
            "install --no-index --no-deps --no-compile dist/*.whl",
        ):
            assert step in text, step

    def test_nothing_is_installed_that_another_version_was_asked_of(self, installed):
        assert _run(installed, "tools/bin/python", "-m", "pip", "--python", "oet/bin/python", "check") == (
            "No broken requirements found.\n"
        )
