"""Checks of scripts, as a client asks for them."""

from __future__ import annotations

import json
from typing import Any

from .tango_server import Oet, filesystem
from .waiting import wait_until

STEPS = ["found", "compiles", "environment", "imports", "functions", "arguments"]


def asked(oet: Oet, script: str | dict[str, Any], **more: Any) -> int:
    """Ask for a check; returns its id."""
    named = filesystem(script) if isinstance(script, str) else script
    return int(json.loads(oet.proxy.Check(json.dumps({"script": named, **more})))["check_id"])


def report_of(oet: Oet, check_id: int, seconds: float = 30) -> dict[str, Any]:
    """Return the report of a check, when it is complete."""

    def complete() -> dict[str, Any] | None:
        found = json.loads(oet.proxy.CheckReport(check_id))
        return found if found["complete"] else None

    return wait_until(complete, seconds, f"the report of check {check_id}")


def checked(oet: Oet, script: str | dict[str, Any], seconds: float = 30, **more: Any) -> dict[str, Any]:
    """Have a script checked; returns the report."""
    return report_of(oet, asked(oet, script, **more), seconds)


def steps_of(report: dict[str, Any]) -> dict[str, bool | None]:
    """Return which steps went well."""
    assert [step["step"] for step in report["steps"]] == STEPS
    return {step["step"]: step["ok"] for step in report["steps"]}


def failure(report: dict[str, Any]) -> tuple[str, str]:
    """Return the step that has failed, and why; those before it went well, those behind it were not done."""
    assert report["ok"] is False
    (failed,) = [step for step in report["steps"] if step["ok"] is False]
    behind = STEPS.index(failed["step"]) + 1
    assert all(step["ok"] is not False for step in report["steps"][: behind - 1])
    assert all(step["ok"] is step["reason"] is step["time"] is None for step in report["steps"][behind:])
    return failed["step"], failed["reason"]
