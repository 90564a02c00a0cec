"""A server whose environment has OpenTelemetry, as a site that traces has, and a collector for what is exported."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.tango_server import Database, Oet, serving
from support.waiting import wait_until

HERE = Path(__file__).parent
PROGRAMS = HERE.parents[1] / ".venv-telemetry" / "bin"
DEVICE = "mid-oet/subarray/01"

# Read by each interpreter as it starts: on a busy machine a collector may need longer than programs wait at their end.
# The modules are changed when they are imported, so that nothing is imported earlier than without this.
PATIENT = """
import sys
from importlib.machinery import PathFinder

class Patient:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in ("ska_oet_device.procedure.worker._tracing", "ska_oet_device.cli._tracing"):
            return None
        spec = PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            assert module.PATIENCE
            module.PATIENCE = 20.0

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Patient)
"""


@dataclass
class Collector:
    """An OTLP collector in a process of its own; programs that export to it have much patience, if there is one.

    :param patience: the folder of a module sitecustomize that gives it to them
    """

    port: int
    file: Path
    patience: Path | None = None

    @property
    def spans(self) -> list[dict[str, Any]]:
        """All spans that have come, in the order in which they came."""
        text = self.file.read_text() if self.file.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # the last line may be written just now
        return [json.loads(line) for line in whole.splitlines()]

    def environment(self) -> dict[str, str]:
        """Return what has a program trace, and export to this collector."""
        patience = {"PYTHONPATH": str(self.patience)} if self.patience is not None else {}
        return {
            **patience,
            "TANGO_TELEMETRY_ENABLE": "on",
            "TANGO_TELEMETRY_TRACING_EXPORTERS": "http",
            "TANGO_TELEMETRY_TRACING_ENDPOINTS": f"http://127.0.0.1:{self.port}/v1/traces",
            "TANGO_TELEMETRY_TYPES": "tracing",
        }

    def wait_for(self, trace: str, *names: str) -> dict[str, dict[str, Any]]:
        """Return the spans of a trace with these names, which are there or soon will be."""

        def found() -> dict[str, dict[str, Any]] | None:
            of_trace = {span["name"]: span for span in self.spans if span["trace"] == trace}
            return of_trace if set(names) <= set(of_trace) else None

        return wait_until(found, 30, f"spans {names} of trace {trace}")


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    if not (PROGRAMS / "OetDevice").exists():
        pytest.skip("there is no .venv-telemetry: make test-all makes it")


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    file = tmp_path_factory.mktemp("collector") / "spans"
    patience = tmp_path_factory.mktemp("patience")
    (patience / "sitecustomize.py").write_text(PATIENT)
    command = [str(PROGRAMS / "python"), str(HERE / "collector.py"), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Collector(int(process.stdout.readline()), file, patience)
        process.kill()


@contextlib.contextmanager
def tracing_server(folder: Path, environment: dict[str, str]) -> Iterator[Oet]:
    """Yield the device of a server that has OpenTelemetry."""
    database = Database(folder)
    try:
        command = [str(PROGRAMS / "OetDevice")]
        properties = {"ScriptRoots": [HERE / "scripts"], "StopGracePeriod": 15}
        with serving(
            database, "01", DEVICE, folder / "server", command=command, environment=environment, **properties
        ) as oet:
            yield oet
    finally:
        database.stop()


@pytest.fixture(scope="module")
def oet(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oet]:
    """A device of a server that traces."""
    with tracing_server(tmp_path_factory.mktemp("telemetry"), collector.environment()) as oet:
        yield oet


def observe(oet: Oet, environment: dict[str, str], *asked: tuple[str, dict[str, Any]]) -> tuple[str, int]:
    """Have a client that traces call commands of the device; returns the trace's id and the last procedure's."""
    words = [word for command, request in asked for word in (command, json.dumps(request))]
    done = subprocess.run(
        [str(PROGRAMS / "python"), str(HERE / "observer.py"), oet.url, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    trace, uid = done.stdout.split()
    return trace, int(uid)
