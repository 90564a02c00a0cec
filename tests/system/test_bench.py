"""The benchmark runs, as a developer runs it; what it measures is not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


ROOT = Path(__file__).parents[2]


def test_it_measures_and_compares(tmp_path):
    figures, table = tmp_path / "figures.json", tmp_path / "table.md"
    command = [sys.executable, "-m", "bench", "latency", "--rounds", "2"]
    first = subprocess.run([*command, "--json", figures], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "not measured" in first.stdout
    measured = {item["name"]: item["value"] for item in json.loads(figures.read_text())["figures"]}
    assert measured["prepare → READY, no imports, warm"] > 0
    assert measured["stop of a sleeping script → STOPPED, cold"] > 0
    again = [*command, "--compare", figures, "--markdown", table]
    second = subprocess.run(again, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "| now / earlier |" in second.stdout
    assert "## The goals" in table.read_text()


def test_a_part_that_is_not_there_is_refused():
    refused = subprocess.run(
        [sys.executable, "-m", "bench", "speed"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "there is no part speed; the parts are latency" in refused.stderr
