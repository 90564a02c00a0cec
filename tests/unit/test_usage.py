"""`OetDevice --help` says how the server is started, and needs no Tango database for it."""

from __future__ import annotations

import os
import subprocess

import pytest
from support.tango_server import program

from ska_oet_device.config import HISTORY_URL_VARIABLE
from ska_oet_device.database_wait import OPTION, VARIABLE


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["01", "--help"]], ids=["long", "short", "behind"])
def test_help_names_what_is_ours_and_starts_nothing(arguments: list[str]) -> None:
    done = subprocess.run(
        [program("OetDevice"), *arguments],
        env={**os.environ, "TANGO_HOST": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: OetDevice INSTANCE")
    assert {
        word
        for word in (OPTION, VARIABLE, "TANGO_HOST", "ORBendPoint", "STATE_DIRECTORY", HISTORY_URL_VARIABLE)
        if word not in done.stdout
    } == set()
    assert "is started" not in done.stdout
