"""A trace without OpenTelemetry: what crosses the pipes, and what the log and the environment tell."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from ska_oet_device.event import Bus, topics
from ska_oet_device.logs import about
from ska_oet_device.procedure.link._route import Route
from ska_oet_device.procedure.messages import Load, RunFunction
from ska_oet_device.procedure.script import ProcedureInput
from ska_oet_device.procedure.worker._tracing import Tracing, prepare_tracing
from ska_oet_device.trace_context import VARIABLE, is_enabled, requested, trace_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-01"
LOAD = Load(
    3, "0199", {"script_uri": "file://scan.py"}, "/s/scan.py", [], {}, {}, {}, 5.0, device="mid-oet/subarray/01"
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a process whose server is told to trace."""
    monkeypatch.setenv("TANGO_TELEMETRY_ENABLE", "on")
    monkeypatch.delenv("TANGO_TELEMETRY_TYPES", raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize("text", ["", "x", TRACE, f"00-{TRACE}-1-01", PARENT.upper(), PARENT + "\n"])
def test_what_is_no_traceparent_has_no_trace(text):
    assert trace_id(text) == ""
    assert about("a/b/c", 1, "r", trace_id(text))["tags"] == "tango-device:a/b/c,procedure:1,run:r"


def test_a_log_line_has_the_trace_behind_what_it_is_about():
    assert about("a/b/c", 1, "r", trace_id(PARENT))["tags"] == f"tango-device:a/b/c,procedure:1,run:r,trace:{TRACE}"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, False),
        ({"TANGO_TELEMETRY_ENABLE": "off"}, False),
        ({"TANGO_TELEMETRY_ENABLE": "On"}, True),
        ({"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TYPES": "logging"}, False),
        ({"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TYPES": "logging, tracing"}, True),
    ],
    ids=["unset", "off", "on", "logging", "both"],
)
def test_tango_says_whether_it_traces(said, expected):
    assert is_enabled(said) is expected


class Sent(list):
    """What a route has sent to main."""

    send = list.append

    def recorded(self, number: int) -> None:
        raise AssertionError("nothing is recorded")


def ask(bus: Bus) -> None:
    bus.publish(topics.procedure.management.create, msg_src=3, load=LOAD)
    bus.publish(
        topics.procedure.management.run,
        msg_src=3,
        call="main",
        run_args=ProcedureInput(),
        force_start=False,
        after=None,
    )


def test_a_request_takes_its_trace_along_and_the_next_one_does_not():
    sent, bus = Sent(), Bus()
    route = Route(sent, "mid-oet/subarray/01", bus, 0)
    requested.traceparent = PARENT
    ask(bus)
    requested.traceparent = ""
    ask(bus)
    route.close()
    assert [type(message) for message in sent] == [Load, RunFunction] * 2
    assert [message.traceparent for message in sent] == [PARENT, PARENT, "", ""]
    assert [message.asked > 0 for message in sent] == [True, True, False, False]


def test_the_environment_tells_the_trace_of_the_request_that_is_served(environment):
    tracing = Tracing()
    tracing.take_up(replace(LOAD, traceparent=PARENT, asked=1.0))
    with tracing.span("load of"):
        assert os.environ[VARIABLE] == PARENT
    tracing.called(OTHER, 2.0, "main")
    assert os.environ[VARIABLE] == OTHER
    tracing.called("", 0.0, "main")
    assert VARIABLE not in os.environ
    tracing.flush()


def test_an_exception_passes_a_span_as_it_is(environment):
    tracing = Tracing()
    tracing.take_up(LOAD)
    failure = KeyError("scan")
    with pytest.raises(KeyError) as raised, tracing.span("main of"):
        raise failure
    assert raised.value is failure


@pytest.mark.skipif(importlib.util.find_spec("opentelemetry") is not None, reason="OpenTelemetry is installed here")
def test_without_the_extra_nothing_of_it_is_needed(environment, caplog):
    with caplog.at_level(logging.DEBUG):
        prepare_tracing()
        tracing = Tracing()
        tracing.take_up(LOAD)
        with tracing.span("main of"):
            pass
        tracing.flush()
    assert caplog.records == []
    program = "from ska_oet_device.procedure.ui._tracing import traceparent_now; print(traceparent_now)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "None\n"


def test_nothing_is_imported_where_nobody_traces():
    program = (
        "import sys; from ska_oet_device.procedure.worker import _process, _tracing; _tracing.prepare_tracing();"
        " print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TANGO_TELEMETRY")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "[]\n", done.stderr
