"""The server's log: requests, states and health, at the levels and to the targets that Tango's administrators set."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import tango
from support.processes import suspend
from support.tango_server import SCRIPTS, Oet, Server, filesystem, program
from support.waiting import wait_until

BIND = ["-ORBendPoint", "giop:tcp:127.0.0.1:0"]
QUICK = {"StopGracePeriod": 0.5, "LoadTimeout": 20, "InitTimeout": 20}
HELD_UP = 2.5  # seconds: whoever waits for a device that hangs does so for the 3 s of a client of Tango
OFF, ERROR, WARN, INFO, DEBUG = 0, 2, 3, 4, 5

LINE = re.compile(
    r"1\|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\|(?P<level>[A-Z]+)\|[^|]*\|[^|]*\|[^|#]*#\d+\|(?P<tags>[^|]*)\|(?P<message>[^|]*)"
)


def lines(server: Server) -> list[re.Match[str]]:
    return [found for text in server.log_text().splitlines() if (found := LINE.fullmatch(text))]


def messages(server: Server, *words: str, level: str = "", behind: int = 0) -> list[str]:
    """Return the messages with these words, from a line of the log on."""
    return [
        found["message"]
        for found in lines(server)[behind:]
        if all(word in found["message"] for word in words) and level in ("", found["level"])
    ]


def logged(server: Server, *words: str, level: str = "", behind: int = 0) -> str:
    return wait_until(lambda: messages(server, *words, level=level, behind=behind), 60, f"the log says {words}")[-1]


def quiet(oet: Oet) -> None:
    """Wait until everything that was logged before has been written."""
    mark = f"{time.monotonic_ns()}"
    admin = admin_of(oet)
    level = int(admin.GetLoggingLevel([oet.name])[0][0])
    admin.SetLoggingLevel([[INFO], [oet.name]])
    with contextlib.suppress(tango.DevFailed):
        oet.proxy.Start(f"mark-{mark}")
    logged(oet.server, f"mark-{mark}")
    admin.SetLoggingLevel([[level], [oet.name]])


def admin_of(oet: Oet) -> tango.DeviceProxy:
    return tango.DeviceProxy(f"tango://{oet.database.host}/{oet.proxy.adm_name().split('/', 3)[-1]}")


@pytest.fixture
def told(oet: Oet) -> Oet:
    """The shared device, whose log level is put back."""
    admin = admin_of(oet)
    yield oet
    admin.SetLoggingLevel([[INFO], [oet.name]])


# -- what is logged


def test_a_request_is_one_line_with_caller_user_argument_and_answer(oet):
    uid = oet.ready("good.py")
    oet.proxy.Start(json.dumps({"process_uid": uid, "user": "alice"}))
    line = logged(oet.server, f'request Start({{"process_uid": {uid}, "user": "alice"}})')
    assert f"from client {psutil.Process().name()} pid {os.getpid()} on host" in line
    assert 'user alice: answered {"id": ' in line
    oet.recorder.wait_for_end(uid)


def test_a_refusal_is_logged_with_its_reason(oet):
    with pytest.raises(tango.DevFailed):
        oet.proxy.Stop("777000")
    assert logged(oet.server, "request Stop(777000)").endswith(
        f"refused, OET_UnknownProcedure: there is no procedure 777000 on {oet.name}"
    )


@pytest.mark.parametrize(
    ("command", "argument"),
    [("Summarise", [424242]), ("LifecycleEvents", 424242), ("Output", "424242"), ("Requests", '{"before": 424242}')],
)
def test_questions_are_requests_too(oet, command, argument):
    with contextlib.suppress(tango.DevFailed):
        getattr(oet.proxy, command)(argument)
    assert len(wait_until(lambda: messages(oet.server, f"request {command}(", "424242"), 10)) == 1


def test_a_write_is_a_request_and_a_read_is_none(oet):
    oet.proxy.waitForQaReady = False
    oet.proxy.waitForQaReady = True
    quiet(oet)
    assert messages(oet.server, "request waitForQaReady(True)")[-1].endswith("user not named: done")
    before = len(messages(oet.server, "request "))
    for name in ("State", "procedures", "waitForQaReady", "healthState"):
        oet.proxy.read_attribute(name)
    quiet(oet)
    assert len(messages(oet.server, "request ")) == before + 1  # quiet's own


def test_each_state_is_logged_with_its_reason_and_tags(oet):
    uid = oet.run("good.py")
    end = oet.recorder.wait_for_end(uid)
    logged(oet.server, f"procedure {uid} is COMPLETE after READY: completed", level="INFO")
    states = [text.split()[3] for text in messages(oet.server, f"procedure {uid} is ")]
    assert states == oet.recorder.states(uid)
    tags = {found["tags"] for found in lines(oet.server) if f"procedure {uid} is " in found["message"]}
    assert tags == {f"tango-device:{oet.name},procedure:{uid},run:{end['run_id']}"}


def test_a_failure_is_an_error(oet):
    uid = oet.run("raises_at_import.py")
    end = oet.recorder.wait_for_end(uid)
    line = logged(oet.server, f"procedure {uid} is FAILED", level="ERROR")
    assert line.endswith(end["reason"].splitlines()[-1])


def test_state_and_health_are_logged_with_their_reasons(oet):
    with oet.properties(Preload=["no_such_module_for_the_log"]):
        logged(oet.server, "healthState is DEGRADED", "no_such_module_for_the_log", level="WARNING")
        before = len(lines(oet.server))
    logged(oet.server, "healthState is OK: all is well", level="INFO", behind=before)
    uid = oet.running("sleepy.py")
    logged(oet.server, f"State is RUNNING: Procedure {uid} is RUNNING", level="INFO")
    oet.stop(uid)
    oet.recorder.wait_for_end(uid)


@pytest.mark.long
def test_the_starts_and_ends_of_the_servers_processes_are_logged(own_server):
    oet = own_server()
    server = oet.server
    main, device_server = server.pid, server.device_server().pid
    server.device_server().kill()
    logged(server, "the device server ended with", "SIGKILL", level="ERROR")
    oet.reconnect()
    again = server.device_server().pid
    assert server.stop() == 0
    said = messages(server)
    for text in (
        f"is started: process {main}",
        f"the device server is started: process {device_server}",
        f"the device server is ready: process {device_server}, devices {oet.name}",
        f"the device server is started: process {again}",
        "the server was asked to end",
        "the device server ends",
        "the device server has ended: exit code 0",
        "the server has ended with status 0",
    ):
        assert any(text in line for line in said), text


@pytest.mark.parametrize("nasty", ["\n", "\r", "\x1b[2J", "\x85", "\u2028", "|"])
def test_nothing_that_a_client_says_makes_a_second_line_or_a_field(oet, scratch, nasty):
    forged = (
        f"{nasty}1|2026-11-22T23:12:37.526Z|INFO|MainThread|f|f.py#1|tango-device:a/b/c|forged{time.monotonic_ns()}"
    )
    (scratch / f"x{forged.replace('/', '-')}.py").write_text("def main(): pass\n")
    requests = [
        ("Prepare", {"script": filesystem(f"x{forged.replace('/', '-')}.py"), "user": forged}),
        ("Prepare", {"script": filesystem(f"none{forged}.py"), "user": forged}),
        ("Start", {"process_uid": 5, "fn_name": forged, "user": forged, forged: 1}),
        (
            "Prepare",
            {"script": {"script_type": "git", "script_uri": f"git://{forged}", "git_args": {"git_repo": forged}}},
        ),
    ]
    for command, request in requests:
        with contextlib.suppress(tango.DevFailed):
            oet.proxy.command_inout(command, json.dumps(request))
    uid = oet.ready("good.py")
    with contextlib.suppress(tango.DevFailed):
        oet.start(uid, fn=forged)
    oet.proxy.command_inout("Stop", json.dumps({"process_uid": uid, "user": forged}))
    quiet(oet)
    text = oet.server.log_text()
    assert "forged" in text
    for line in text.split("\n"):
        assert LINE.fullmatch(line) or not line or "forged" not in line, line
        assert line.isprintable()
    assert not any(found["message"].startswith("forged") for found in lines(oet.server))


# -- levels


@pytest.mark.long
@pytest.mark.parametrize(
    ("argument", "level", "shown"),
    [
        ([], INFO, {"INFO"}),
        (["-v0"], WARN, set()),
        (["-v"], INFO, {"INFO"}),
        (["-v1"], INFO, {"INFO"}),
        (["-v2"], INFO, {"INFO"}),
        (["-v3"], DEBUG, {"INFO", "DEBUG"}),
        (["-v4"], DEBUG, {"INFO", "DEBUG"}),
        (["-v5"], DEBUG, {"INFO", "DEBUG"}),
    ],
)
def test_v_says_how_much_main_and_the_device_log(database, tmp_path, argument, level, shown):
    instance = f"level{''.join(argument)}"
    name = f"mid-oet/subarray/{instance}"
    database.add_server(instance, {name: {"ScriptRoots": [SCRIPTS], **QUICK}})
    server = Server([instance, *BIND, *argument], tmp_path / instance, database.host)
    try:
        oet = Oet(database, name, server)
        assert admin_of(oet).GetLoggingLevel([name])[0][0] == level
        uid = oet.run("raises_at_import.py")
        oet.recorder.wait_for_end(uid)
        # Not as lines of their own: from -v5 on Tango's library writes in pieces, and ours may stand among them.
        wait_until(lambda: f"procedure {uid} is FAILED" in server.log_text(), 10, "the failure is in the log")
        oet.close()
        assert server.stop() == 0
        assert set(re.findall(r"Z\|([A-Z]+)\|", server.log_text())) - {"WARNING", "ERROR"} == shown
        assert bool(messages(server, "is started: process")) == ("INFO" in shown)
        assert server.log_text().count(f"procedure {uid} is FAILED") == 1
    finally:
        server.clean_up()


def test_the_property_logging_level_is_the_level_from_the_start(own_server):
    oet = own_server(logging_level="ERROR")
    assert admin_of(oet).GetLoggingLevel([oet.name])[0][0] == ERROR
    assert messages(oet.server, "request ") == []


def test_set_logging_level_holds_at_once_and_outlives_init(told):
    oet, admin = told, admin_of(told)
    admin.SetLoggingLevel([[ERROR], [oet.name]])
    with contextlib.suppress(tango.DevFailed):
        oet.proxy.Start("555001")
    oet.proxy.Init()
    with contextlib.suppress(tango.DevFailed):
        oet.proxy.Start("555002")
    admin.SetLoggingLevel([[INFO], [oet.name]])
    with contextlib.suppress(tango.DevFailed):
        oet.proxy.Start("555003")
    logged(oet.server, "Start(555003)")
    assert messages(oet.server, "Start(55500") == messages(oet.server, "Start(555003)")
    admin.SetLoggingLevel([[DEBUG], [oet.name]])
    uid = oet.run("good.py")
    oet.recorder.wait_for_end(uid)
    wait_until(lambda: any(found["level"] == "DEBUG" for found in lines(oet.server)), 10, "there are details")


def test_the_level_of_one_device_is_not_that_of_its_neighbour(told, other):
    admin = admin_of(told)
    admin.SetLoggingLevel([[OFF], [told.name]])
    for each, argument in ((told, "556001"), (other, "556002")):
        with contextlib.suppress(tango.DevFailed):
            each.proxy.Start(argument)
    logged(told.server, "Start(556002)")
    assert messages(told.server, "Start(556001)") == []


# -- targets


@contextlib.contextmanager
def consumer(oet: Oet, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A device that takes log lines, sys/log/1."""
    info = tango.DbDevInfo()
    info.name, info._class, info.server = "sys/log/1", "LogConsumer", "LogConsumer/1"
    oet.database.tango.add_device(info)
    process = subprocess.Popen(
        [sys.executable, "-m", "support.log_consumer", "1", str(path), *BIND],
        env={**os.environ, "TANGO_HOST": oet.database.host, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.DEVNULL,
    )
    try:
        proxy = wait_until(lambda: _answers(f"tango://{oet.database.host}/sys/log/1"), 60, "the consumer answers")
        assert proxy
        yield process
    finally:
        process.kill()
        process.wait()
        oet.database.tango.delete_device("sys/log/1")


def _answers(name: str) -> bool:
    try:
        return bool(tango.DeviceProxy(name).ping())
    except tango.DevFailed:
        return False


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_file_target_gets_what_the_device_logs_and_nothing_after_its_removal(told, tmp_path):
    oet, admin, path = told, admin_of(told), tmp_path / "target.log"
    admin.AddLoggingTarget([oet.name, f"file::{path}"])
    try:
        for argument in ("557001", "557002]]><forged>\n", "557003\u20ac"):
            with contextlib.suppress(tango.DevFailed):
                oet.proxy.Start(json.dumps({"users": argument}))
        wait_until(lambda: "557003" in text_of(path), 10, "the target has the lines")
        assert text_of(path).count("557001") == len(messages(oet.server, "557001")) == 1
        assert "]]><forged>" not in text_of(path)
    finally:
        admin.RemoveLoggingTarget([oet.name, f"file::{path}"])
    with contextlib.suppress(tango.DevFailed):
        oet.proxy.Start("557009")
    quiet(oet)
    assert "557009" not in text_of(path)


def test_a_device_target_gets_the_lines_and_no_hanging_one_holds_anything_up(told, tmp_path):
    oet, admin, path = told, admin_of(told), tmp_path / "consumed"
    with consumer(oet, path) as process:
        admin.AddLoggingTarget([oet.name, "device::sys/log/1"])
        try:
            uid = oet.ready("good.py")
            wait_until(lambda: f"procedure {uid} is READY" in text_of(path), 10, "the consumer has the line")
            assert f"INFO {oet.name} procedure {uid} is CREATING" in text_of(path)
            admin.SetLoggingLevel([[ERROR], [oet.name]])
            with contextlib.suppress(tango.DevFailed):
                oet.proxy.Start("558001")
            admin.SetLoggingLevel([[INFO], [oet.name]])
            suspend(process.pid)
            slowest = max(_seconds_of_a_request(oet, 558100 + number) for number in range(300))
            assert slowest < HELD_UP
            logged(oet.server, "558399")
            process.kill()
            process.wait()
            assert max(_seconds_of_a_request(oet, 558500 + number) for number in range(100)) < HELD_UP
            logged(oet.server, "558599")
            assert "558001" not in text_of(path)
        finally:
            admin.RemoveLoggingTarget([oet.name, "device::sys/log/1"])


def _seconds_of_a_request(oet: Oet, number: int) -> float:
    began = time.monotonic()
    with contextlib.suppress(tango.DevFailed):
        oet.proxy.Start(str(number))
    return time.monotonic() - began


def test_a_target_at_work_does_no_harm_to_devices_that_are_restarted(own_server, tmp_path):
    oet = own_server(logging_target=f"file::{tmp_path / 'target'}")
    admin, before = admin_of(oet), oet.server.device_server().pid
    for number in range(5):
        for each in range(20):
            with contextlib.suppress(tango.DevFailed):
                oet.proxy.Start(str(559000 + number * 100 + each))
        oet.proxy.Init()
        admin.DevRestart(oet.name)
    _seconds_of_a_request(oet, 559999)  # a line that is due while the device is made anew reaches no target
    wait_until(lambda: "559999" in text_of(tmp_path / "target"), 30, "the target has the lines")
    assert oet.server.device_server().pid == before


# -- nobody reads


@pytest.mark.long
def test_a_server_whose_log_nobody_reads_goes_on(database, tmp_path):
    name = "mid-oet/subarray/unread"
    database.add_server("unread", {name: {"ScriptRoots": [SCRIPTS], **QUICK}})
    reading, writing = os.pipe()
    server = _server_writing_to(writing, database, tmp_path)
    try:
        oet = Oet(database, name, server)
        os.close(writing)
        long_name = "x" * 150
        end = time.monotonic() + 2.5  # the pipe is full after some hundred lines, and patience ends after a second
        while time.monotonic() < end:
            with contextlib.suppress(tango.DevFailed):
                oet.proxy.Start(long_name)
        uid = oet.run("good.py")
        assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
        assert _seconds_of_a_request(oet, 1) < HELD_UP
        os.set_blocking(reading, False)
        text = ""

        def read() -> list[str]:
            nonlocal text
            with contextlib.suppress(BlockingIOError):
                text += os.read(reading, 1 << 20).decode()
            with contextlib.suppress(tango.DevFailed):
                oet.proxy.Start("2")
            return re.findall(r"\d+ lines of this log were dropped", text)

        wait_until(read, 20, "the log says what was dropped")
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()
        os.close(reading)


def _server_writing_to(descriptor: int, database, tmp_path) -> Server:
    """Start a server whose standard output is a pipe, by way of a program that becomes it."""
    script = (
        "import os, sys; pipe = os.open(sys.argv[1], os.O_WRONLY); os.dup2(pipe, 1); os.close(pipe); "
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    command = [sys.executable, "-c", script, f"/proc/{os.getpid()}/fd/{descriptor}", program("OetDevice")]
    return Server(["unread", *BIND], tmp_path / "unread", database.host, command)
