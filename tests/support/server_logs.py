"""What servers had in their logs when a test failed: a failure that comes once in many runs can be understood by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_LINES = 15  # of each log
_BEFORE = 10.0  # seconds before the call of the test: its fixtures may have started a server
_started: set[Path] = set()


def note_log(log: Path) -> None:
    """Have the log of a server shown when a test fails while it grows."""
    _started.add(log)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add the ends of all logs that were written to meanwhile to the report of a failure."""
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    if not report.failed:
        return
    for log in sorted(_started):
        if log.exists() and log.stat().st_mtime >= call.start - _BEFORE:
            end = log.read_text(errors="replace").splitlines()[-_LINES:]
            report.sections.append((f"the end of {log.parent.name}/{log.name}", "\n".join(end)))
