"""How long the first start waits for the Tango database, and what it says meanwhile."""

from __future__ import annotations

import logging
import math
import re
import time
from types import SimpleNamespace

import pytest
from support.ports import free_port

from ska_oet_device.database_wait import DatabaseWaitError, split_arguments
from ska_oet_device.procedure.ui import _before_tango


@pytest.mark.parametrize(
    ("arguments", "variable", "tangos", "seconds"),
    [
        (["01"], None, ["01"], 0),
        (["01", "-v3"], "", ["01", "-v3"], 0),
        (["01"], "90", ["01"], 90),
        (["01"], "forever", ["01"], math.inf),
        (["01", "--wait-for-database"], None, ["01"], math.inf),
        (["--wait-for-database", "01"], None, ["01"], math.inf),
        (["01", "--wait-for-database=2.5", "-v3"], None, ["01", "-v3"], 2.5),
        (["01", "--wait-for-database=forever"], None, ["01"], math.inf),
        (["01", "--wait-for-database=5", "--wait-for-database=7"], None, ["01"], 7),
        (["01", "--wait-for-database=0"], "forever", ["01"], 0),
        (["01", "--wait-for-database"], "5", ["01"], math.inf),
        (["01", "--wait-for-databases"], None, ["01", "--wait-for-databases"], 0),
    ],
)
def test_the_argument_goes_before_the_variable_and_the_rest_is_tangos(arguments, variable, tangos, seconds):
    environment = {} if variable is None else {"OET_WAIT_FOR_DATABASE": variable}
    assert split_arguments(arguments, environment) == (tangos, seconds)


@pytest.mark.parametrize("value", ["", "soon", "-1", "1 minute", "nan", "inf", "1e3", "\u0661"])
def test_a_time_that_is_none_is_named_with_the_rule(value):
    expected = f"the argument --wait-for-database is {value!r}: it must be a number of seconds, or forever"
    with pytest.raises(DatabaseWaitError, match=re.escape(expected)):
        split_arguments(["01", f"--wait-for-database={value}"], {})
    if value:
        with pytest.raises(DatabaseWaitError, match="the variable OET_WAIT_FOR_DATABASE is"):
            split_arguments(["01"], {"OET_WAIT_FOR_DATABASE": value})


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> str:
    """A TANGO_HOST at which nobody listens."""
    host = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("TANGO_HOST", host)
    monkeypatch.setattr(_before_tango, "_PAUSE", 0.01)
    return host


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_whoever_waits_long_says_so_again_and_again(nobody, monkeypatch, caplog):
    monkeypatch.setattr(_before_tango, "_TOLD_EVERY", 0.05)
    now = [100.0]  # a busy machine may take 0.3 s for one look

    def sleep(seconds: float) -> None:
        now[0] += seconds + 0.001

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep, strftime=time.strftime, gmtime=time.gmtime)
    monkeypatch.setattr(_before_tango, "time", clock)
    with caplog.at_level(logging.INFO):
        left = _before_tango.wait_for_database(0.3)
    assert re.search(rf"TANGO_HOST={nobody} does not answer \(.*refused\), and it was waited for since 2\d\d\d-", left)
    first, *others = said(caplog)
    assert first.endswith("the start waits for it, for at most 0.3 s")
    assert others
    assert all(re.match(r"waiting for the Tango database since 2\d\d\d-\d\d-\d\d .* UTC: ", text) for text in others)


def test_whoever_waits_says_it_once_in_a_while_only(nobody, caplog):
    assert _before_tango.wait_for_database(0.3)
    assert len(said(caplog)) == 1


@pytest.mark.parametrize("host", ["database", "database:", ":10000", "database:ten"])
def test_what_no_time_can_mend_is_not_waited_for(monkeypatch, caplog, host):
    monkeypatch.setenv("TANGO_HOST", host)
    assert f"TANGO_HOST={host} does not answer ({host}: not HOST:PORT)" in _before_tango.wait_for_database(math.inf)
    assert said(caplog) == []


def test_a_host_that_nobody_knows_is_told_as_such(monkeypatch):
    monkeypatch.setenv("TANGO_HOST", "no-such-host.invalid:10000")
    problem = _before_tango.database_problem()
    assert problem is not None
    assert problem.may_pass, "in Kubernetes the name may come later"
    assert "nobody knows a host no-such-host.invalid" in problem.text
    assert "the name may be wrong" in problem.text
