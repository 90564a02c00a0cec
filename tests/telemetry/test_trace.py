"""One trace from a client's request through the device, main and the worker to what the script itself asks of Tango."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from typing import Any

import pytest
from support.tango_server import Oet, filesystem
from support.waiting import wait_until

from .conftest import PROGRAMS, Collector, observe, tracing_server

PREPARE = ("Prepare", {"script": filesystem("asks.py")})


def start(*args: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return "Start", {"run_args": {"args": args, "kwargs": {}}, "force_start": True, **more}


def output_of(oet: Oet, uid: int) -> str:
    return json.loads(oet.proxy.Output(json.dumps({"process_uid": uid})))["text"]


def lineage(spans: list[dict[str, Any]], span: dict[str, Any]) -> list[str]:
    """Return the names of a span and of all those above it."""
    by_id = {each["span"]: each for each in spans}
    names = []
    while span is not None:
        names.append(span["name"])
        span = by_id.get(span["parent"])
    return names


def is_below(collector: Collector, span: dict[str, Any], name: str) -> None:
    """Wait until what lies between a span and one above it has come, from several processes."""
    wait_until(
        lambda: name in lineage(collector.spans, span),
        30,
        f"{name} is above {span['name']}",
    )


def test_it_is_one_trace_from_the_client_to_what_the_script_asks(oet, collector):
    trace, uid = observe(oet, collector.environment(), PREPARE, start(oet.url))
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    ours = {f"{what} file://asks.py" for what in ("process for", "load of", "init of", "turn for main of", "main of")}
    named = collector.wait_for(trace, "observation", "OetDevice.Prepare", "OetDevice.Start", *ours)
    for name in ours:
        wanted = "OetDevice.Start" if "main" in name else "OetDevice.Prepare"
        assert lineage(collector.spans, named[name])[1] == wanted
        is_below(collector, named[name], "observation")
    main = named["main of file://asks.py"]
    assert main["attributes"] == {
        "ska_oet.procedure": uid,
        "ska_oet.run": oet.summary(uid)["run_id"],
        "ska_oet.device": oet.name,
        "ska_oet.script": "file://asks.py",
    }
    assert main["pid"] == named["load of file://asks.py"]["pid"]
    assert named["turn for main of file://asks.py"]["attributes"]["ska_oet.process"] == "main"
    assert main["begin"] >= named["turn for main of file://asks.py"]["end"]

    answered = collector.wait_for(trace, "OetDevice.Summarise", "main")
    of_proxy = answered["main"]  # PyTango's span of a call is named after the function that calls
    assert (of_proxy["service"], of_proxy["parent"]) == ("OetScript", main["span"])
    # What is between them is cppTango's own in the script's process, which exports every 5 s, and not at the end.
    assert of_proxy["begin"] <= answered["OetDevice.Summarise"]["begin"] <= of_proxy["end"]


def test_the_log_and_what_the_script_starts_tell_the_trace(oet, collector):
    trace, uid = observe(oet, collector.environment(), PREPARE, start(oet.url))
    oet.recorder.wait_for_end(uid)
    named = collector.wait_for(trace, "main of file://asks.py")
    text = output_of(oet, uid)
    logged = [line for line in text.splitlines() if line.startswith("1|")]
    assert [line.rpartition("|")[2] for line in logged] == ["initialised", f"asking {oet.url}"]
    assert all(f",trace:{trace}|" in line for line in logged)
    span = named["main of file://asks.py"]["span"]
    assert re.findall(r"^(child|here) 00-(\w+)-(\w+)-\d\d$", text, re.M) == [
        ("child", trace, span),
        ("here", trace, span),
    ]
    requests: list[str] = []

    def are_logged() -> bool:  # by a thread of the device server
        requests[:] = [line for line in oet.server.log_text().splitlines() if f",trace:{trace}|" in line]
        return len(requests) >= 2

    wait_until(are_logged, 20, "both requests are in the log")
    assert ["request Prepare(" in requests[0], "request Start(" in requests[1]] == [True, True]


def test_what_is_prepared_and_what_is_started_are_parts_of_the_requests_for_them(oet, collector):
    first, uid = observe(oet, collector.environment(), PREPARE)
    oet.recorder.wait_for_state(uid, "READY")
    second, _ = observe(oet, collector.environment(), start(oet.url, process_uid=uid))
    oet.recorder.wait_for_end(uid)
    collector.wait_for(first, "init of file://asks.py")
    collector.wait_for(second, "main of file://asks.py")
    tags = re.findall(r",trace:(\w+)\|", output_of(oet, uid))
    assert tags == [first, second]


def test_a_start_of_a_client_that_does_not_trace_is_in_no_others_trace(oet, collector):
    first, uid = observe(oet, collector.environment(), PREPARE)
    oet.recorder.wait_for_state(uid, "READY")
    plain = {**collector.environment(), "TANGO_TELEMETRY_ENABLE": "off"}
    observe(oet, plain, start(oet.url, process_uid=uid))
    oet.recorder.wait_for_end(uid)
    own = {span["trace"] for span in collector.spans if span["name"] == "main of file://asks.py"}
    assert first not in own
    initialised, asking = (line for line in output_of(oet, uid).splitlines() if line.startswith("1|"))
    assert f",trace:{first}|" in initialised
    assert first not in asking


def test_the_span_of_a_function_that_fails_says_why(oet, collector):
    trace, uid = observe(oet, collector.environment(), PREPARE, start(oet.url, "badly"))
    assert oet.recorder.wait_for_end(uid)["state"] == "FAILED"
    named = collector.wait_for(trace, "main of file://asks.py")
    main = named["main of file://asks.py"]
    assert (main["failed"], main["message"]) == (True, "RuntimeError: it ends badly")
    assert not named["init of file://asks.py"]["failed"]


def test_all_that_a_call_of_oet_asks_for_is_one_trace(oet, collector):
    environment = {**os.environ, **collector.environment(), "TANGO_HOST": oet.database.host, "OET_DEVICE": oet.name}
    command = [str(PROGRAMS / "oet"), "run", "asks.py", "--arg", oet.url, "--follow"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (uid, trace) = re.findall(r"procedure:(\d+),.*,trace:(\w+)\|initialised", done.stdout)[0]
    named = collector.wait_for(trace, "oet run", "OetDevice.Run", "main of file://asks.py")
    assert named["main of file://asks.py"]["parent"] == named["OetDevice.Run"]["span"]
    assert named["oet run"]["parent"] == ""
    assert f",trace:{trace}|asking {oet.url}" in output_of(oet, int(uid))


def test_what_the_client_of_a_call_of_oet_asks_for_by_itself_is_in_the_calls_trace(oet, collector):
    environment = {**os.environ, **collector.environment(), "TANGO_HOST": oet.database.host, "OET_DEVICE": oet.name}
    before = {span["span"] for span in collector.spans}
    command = [str(PROGRAMS / "oet"), "run", "asks.py", "--arg", oet.url, "--follow"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (trace,) = re.findall(r",trace:(\w+)\|initialised", done.stdout)
    collector.wait_for(trace, "oet run", "Subscriptions._subscribe", "Feed._events_after", "_command_inout")
    own = [span for span in collector.spans if span["service"] == "oet" and span["span"] not in before]
    assert {span["trace"] for span in own} == {trace}
    assert [span["name"] for span in own if not span["parent"]] == ["oet run"]
    assert not [span["name"] for span in own if "lambda" in span["name"]]


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_a_collector_that_is_away_keeps_no_script_and_no_stop_waiting(kind, collector, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "hangs":
            listener.listen(64)
        away = Collector(listener.getsockname()[1], tmp_path / "spans").environment()
        away["OTEL_EXPORTER_OTLP_TIMEOUT"] = "60"  # not 10: a script that waits for it is to use up its grace
        with tracing_server(tmp_path, away) as oet:
            _, uid = observe(oet, collector.environment(), PREPARE, start(oet.url))
            assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
            assert "opentelemetry" not in output_of(oet, uid)
            _, uid = observe(oet, collector.environment(), PREPARE, start(oet.url, "late"))
            oet.recorder.wait_for_state(uid, "RUNNING")
            oet.stop(uid)
            oet.recorder.wait_for_end(uid)
            assert oet.summary(uid)["history"]["exit"]["signals_sent"] == ["SIGTERM"], "it has ended within its grace"
