"""What a thread does again and again, and goes on with whatever happens."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys

import pytest

from ska_oet_device import duties
from ska_oet_device.duties import Duty, neglected
from ska_oet_device.logs import DirectHandler, LineWriter


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(duties, "_LONGEST_PAUSE", 0.001)


def test_a_step_that_fails_once_is_logged_and_no_problem(quick, caplog):
    duty = Duty("do this or that")
    assert duty.attempt(lambda: 1 / 0) is False
    assert duty.attempt(lambda: None) is True
    assert duty.problem == ""
    assert "this server cannot do this or that" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_what_keeps_failing_is_a_problem_until_it_succeeds(quick):
    duty, other = Duty("do this"), Duty("do that")
    for _ in range(20):
        duty.attempt(lambda: 1 / 0)
        other.attempt(lambda: None)
    assert neglected() == ("This server cannot do this: ZeroDivisionError: division by zero.",)
    duty.attempt(lambda: None)
    assert neglected() == ()


def test_what_is_over_is_neglected_no_more(quick, monkeypatch):
    monkeypatch.setattr(
        duties._log, "disabled", True
    )  # pytest would keep the tracebacks, and all that their frames hold
    duty = Duty("do this")
    for _ in range(20):
        duty.attempt(lambda: 1 / 0)
    assert neglected() != ()
    del duty
    gc.collect()
    assert neglected() == ()


def test_what_fails_for_ever_is_logged_a_few_times(quick, caplog):
    duty = Duty("do this")
    for _ in range(50):
        duty.attempt(lambda: 1 / 0)
    assert len(caplog.records) == 3


def test_a_record_that_cannot_be_formatted_harms_nobody_who_logs(tmp_path):
    path = tmp_path / "log"
    with path.open("wb") as file:
        handler = DirectHandler(LineWriter(file.fileno()))
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger = logging.Logger("test")
        logger.addHandler(handler)
        logger.error("%d of them", "no number")
        logger.error("%d of them", 5)
    first, second = path.read_text().splitlines()
    assert "test_duties.py" in first
    assert "cannot be written" in first
    assert second == "5 of them"


WITH_A_THREAD = """
import logging
from ska_oet_device import logs
logs._PATIENCE = logs._LAST_WORDS = 60.0
logs.configure_server_logging(["-v1"], threaded=True)
log = logging.getLogger("ska_oet_device.test")
log.error("%d of them", "no number")
log.error("%d of them", 5)
logging.shutdown()
"""


def test_a_record_that_cannot_be_formatted_does_not_end_the_thread_that_writes():
    done = subprocess.run([sys.executable, "-c", WITH_A_THREAD], capture_output=True, text=True, check=True, timeout=30)
    assert [line.split("|")[-1] for line in done.stdout.splitlines()][1:] == ["5 of them"]
