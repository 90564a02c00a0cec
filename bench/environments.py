"""How long a script waits for its environment: here, and with ``python -m venv`` and pip.

``python bench/environments.py [requirement …]`` makes environments of a small project, three
times each, and prints medians in seconds:

- cold: nothing has been downloaded yet
- warm: everything has been downloaded for another environment
- ready: the environment is there
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ska_oet_device.procedure.environment.manager import EnvironmentManager

REQUIREMENTS = ["requests==2.32.3", "pyyaml==6.0.2", "attrs==24.2.0"]
TIMES = 3


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def project_in(folder: Path, requirements: list[str], number: int) -> Path:
    """Make one of several projects that ask for the same packages, each with an environment of its own."""
    project = folder / f"project{number}"
    project.mkdir(exist_ok=True)
    (project / "requirements.txt").write_text("\n".join([*requirements, f"# {number}", ""]))
    return project


def ours(folder: Path, requirements: list[str]) -> list[float]:
    manager = EnvironmentManager(base_dir=folder / "environments")
    first, second = (project_in(folder, requirements, number) for number in (1, 2))
    try:
        return [seconds(functools.partial(manager.prepare, each, "c1")) for each in (first, second, second)]
    finally:
        manager.close()


def by_hand(folder: Path, requirements: list[str]) -> list[float]:
    def make(number: int) -> None:
        project = project_in(folder, requirements, number)
        python = folder / f"venv{number}" / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "-r", str(project / "requirements.txt")]
        subprocess.run(pip, check=True, env=os.environ | {"PIP_CACHE_DIR": str(folder / "cache")})

    return [seconds(lambda: make(1)), seconds(lambda: make(2)), float("nan")]


def main() -> None:
    requirements = sys.argv[1:] or REQUIREMENTS
    print(f"{', '.join(requirements)}; Python {sys.version.split()[0]}; median of {TIMES}, seconds")
    print(f"{'':28}{'cold':>8}{'warm':>8}{'ready':>8}")
    ways: dict[str, Callable[[Path], list[float]]] = {
        "here, with uv": lambda folder: ours(folder, requirements),
        "python -m venv; pip install": lambda folder: by_hand(folder, requirements),
    }
    for name, way in ways.items():
        results = []
        for _ in range(TIMES):
            with tempfile.TemporaryDirectory() as folder:
                results.append(way(Path(folder)))
        medians = (statistics.median(column) for column in zip(*results, strict=True))
        print(f"{name:28}" + "".join(f"{median:8.3f}" if median > 0 else f"{'–':>8}" for median in medians))


if __name__ == "__main__":
    main()
