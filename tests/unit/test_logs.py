"""Log lines in the SKA's standard format."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.forked import in_a_child
from support.waiting import wait_until

from ska_oet_device.logs import (
    LONGEST_LINE,
    LineWriter,
    SkaFormatter,
    about,
    escape,
    level_of,
    tango_arguments,
)

LINE = re.compile(
    r"1\|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\|(?P<level>[A-Z]+)\|(?P<thread>[^|]*)\|(?P<function>[^|]*)\|"
    r"(?P<file>[^|#]*)#(?P<line>\d+)\|(?P<tags>[^|]*)\|(?P<message>.*)",
    re.DOTALL,
)


def record(message: str, *arguments: object) -> logging.LogRecord:
    made = logging.LogRecord("a", logging.WARNING, "/some/where/file.py", 17, message, arguments, None, func="act")
    made.created, made.msecs = 1795389957.526, 526.0
    return made


def test_a_line_has_the_fields_of_the_skas_format():
    line = SkaFormatter("tango-device:mid-oet/subarray/01").format(record("procedure %d", 3))
    assert line == (
        "1|2026-11-22T23:25:57.526Z|WARNING|MainThread|act|file.py#17|tango-device:mid-oet/subarray/01|procedure 3"
    )
    assert LINE.fullmatch(line)


def test_tags_may_hold_a_percent_sign():
    line = SkaFormatter("load:100%s").format(record("all is well"))
    assert LINE.fullmatch(line)["tags"] == "load:100%s"


def failed_record() -> logging.LogRecord:
    try:
        raise ValueError("what went wrong\n1|2026|forged")
    except ValueError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    return failed


def test_a_traceback_is_in_the_line_of_its_record():
    line = SkaFormatter().format(failed_record())
    found = LINE.fullmatch(line)
    assert line.isprintable()
    assert found["message"].startswith(r"failed\nTraceback (most recent call last):\n")
    assert found["message"].endswith(r"ValueError: what went wrong\n1\x7c2026\x7cforged")


def test_a_scripts_traceback_follows_the_line_as_people_read_it():
    lines = SkaFormatter(scripts=True).format(failed_record()).splitlines()
    assert LINE.match(lines[0])["message"] == "failed"
    assert lines[-2:] == ["ValueError: what went wrong", "1|2026|forged"]


def test_whom_a_record_concerns_is_in_its_tags():
    made = record("text")
    vars(made).update(about("mid-oet/subarray/01", 3, "0199"))
    assert LINE.fullmatch(SkaFormatter("else").format(made))["tags"] == (
        "tango-device:mid-oet/subarray/01,procedure:3,run:0199"
    )
    assert about("a/b/c")["tags"] == "tango-device:a/b/c"


NASTY = ["\n", "\r", "\r\n", "\t", "\0", "\x1b[31m", "\x85", "\x7f", "\u2028", "\u2029", "\u202e", "\ud800", "|", "a|b"]


@pytest.mark.parametrize("text", NASTY)
def test_no_text_makes_a_second_line_or_a_field(text):
    made = record("name %s", f"x{text}1|2026-11-22T23:12:37.526Z|INFO")
    made.threadName, made.funcName, made.filename = f"t{text}", f"f{text}", f"n{text}"
    vars(made).update(about(f"d{text}"))
    line = SkaFormatter().format(made)
    assert line.isprintable()
    assert len(line.split("|")) == 8


@given(st.text(st.characters(), max_size=200))
def test_whatever_is_logged_is_one_line_that_can_be_read(text):
    line = SkaFormatter().format(record("%s", text))
    assert line.isprintable()
    assert len(line.split("|")) == 8
    assert escape(text) == text or not text.isprintable() or "|" in text


@pytest.mark.parametrize("char", ["x", "\n", "\U0001f600", "\u4e2d"])
def test_a_long_message_loses_its_middle(char, tmp_path):
    line = SkaFormatter().format(record("begin %s end", char * 100_000))
    assert "|begin " in line
    assert line.endswith(" end")
    assert "characters left out" in line
    with (tmp_path / "log").open("wb") as log:
        LineWriter(log.fileno()).write(line)
    written = (tmp_path / "log").read_bytes()
    assert len(written) <= LONGEST_LINE
    assert written.endswith(b"\n")
    written.decode()


def test_a_wrong_log_call_is_a_line_all_the_same():
    assert SkaFormatter().format(record("%d procedures", "many")).endswith("|%d procedures ('many',)")


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        ([], None),
        (["01", "-v0"], logging.WARNING),
        (["01", "-v"], logging.INFO),
        (["01", "-v1"], logging.INFO),
        (["01", "-v2"], logging.INFO),
        (["01", "-v3"], logging.DEBUG),
        (["01", "-v4"], logging.DEBUG),
        (["01", "-v5"], logging.DEBUG),
        (["01", "-verbose", "-nodb"], None),
    ],
)
def test_the_level_is_the_one_that_v_asks_for(arguments, level):
    assert level_of(arguments) == level


def test_tango_sees_only_a_v_that_is_about_its_library():
    assert tango_arguments(["01", "-v0", "-v", "-v4", "-nodb", "-v5", "-v12"]) == ["01", "-nodb", "-v5", "-v12"]


# -- writing


def test_a_reader_who_has_stopped_is_not_waited_for_and_learns_what_was_dropped():
    program = (
        "import logging, time\n"
        "from ska_oet_device.logs import configure_server_logging\n"
        "configure_server_logging([])\n"
        "log = logging.getLogger('ska_oet_device.a')\n"
        "began = time.monotonic()\n"
        "for number in range(2000): log.info('%d %s', number, 'x' * 500)\n"
        "import sys; print(time.monotonic() - began, file=sys.stderr, flush=True)\n"
        "sys.stdin.readline()\n"
        "log.info('the reader is back')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert float(process.stderr.readline()) < 5
        first = os.read(process.stdout.fileno(), 1 << 20)
        rest, _ = process.communicate(b"go on\n", timeout=20)
        lines = (first + rest).decode().splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert lines[-2].endswith("the reader is back")
    dropped = int(re.search(r"(\d+) lines of this log were dropped", lines[-1])[1])
    assert dropped == 2000 - (len(lines) - 2) > 0


@in_a_child  # a LineWriter lives as long as its process
def test_a_full_pipe_is_not_made_non_blocking_for_others():
    reading, writing = os.pipe()
    try:
        LineWriter(writing).write("a line")
        assert os.get_blocking(writing)
        assert os.read(reading, 100) == b"a line\n"
    finally:
        os.close(reading)
        os.close(writing)


def _closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def _full_device() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("made", [_closed_pipe, _full_device])
@in_a_child
def test_what_cannot_be_written_raises_nothing(made):
    descriptor = made()
    try:
        writer = LineWriter(descriptor)
        assert not writer.write("a line", 0.1)
        assert writer.dropped == 1
    finally:
        os.close(descriptor)


def test_a_descriptor_that_is_closed_takes_nothing_and_raises_nothing():
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.close(descriptor)
    LineWriter(descriptor).write("a line")


@in_a_child  # a LineWriter lives as long as its process
def test_a_socket_whose_peer_does_not_read_is_not_waited_for():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = LineWriter(ours.fileno())
        began = time.monotonic()
        wait_until(lambda: not writer.write("x" * 4000), 20, "it is full")
        assert time.monotonic() - began < 10


def test_two_processes_that_write_to_one_pipe_do_not_mix_their_lines():
    program = (
        "import logging, sys\n"
        "from ska_oet_device import logs\n"
        "logs._PATIENCE = logs._LAST_WORDS = 60.0\n"  # the reader may be held up: it does read
        "logs.configure_server_logging([], threaded=True)\n"
        "log = logging.getLogger('ska_oet_device.a')\n"
        "for number in range(500): log.info('%s', sys.argv[1] * 1900)\n"
        "logging.shutdown()\n"
    )
    reading, writing = os.pipe()
    processes = [subprocess.Popen([sys.executable, "-c", program, letter], stdout=writing) for letter in "ab"]
    os.close(writing)
    with os.fdopen(reading) as log:
        lines = log.read().splitlines()
    assert [process.wait(20) for process in processes] == [0, 0]
    assert len(lines) == 1000
    assert {LINE.fullmatch(line)["message"] for line in lines} == {"a" * 1900, "b" * 1900}


def test_the_thread_that_writes_is_waited_for_at_the_end(tmp_path):
    program = (
        "import logging\n"
        "from ska_oet_device import logs\n"
        "logs._PATIENCE = logs._LAST_WORDS = 60.0\n"  # the reader may be held up: it does read
        "logs.configure_server_logging([], threaded=True)\n"
        "for number in range(1000): logging.getLogger('ska_oet_device.a').info('%d', number)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert [LINE.fullmatch(line)["message"] for line in done.stdout.splitlines()] == [str(n) for n in range(1000)]
    assert done.stderr == ""


def test_where_standard_output_is_thrown_away_as_by_tangos_starter_the_log_is_on_standard_error():
    program = (
        "import logging\n"
        "from ska_oet_device.logs import configure_server_logging\n"
        "configure_server_logging([])\n"
        "logging.getLogger('ska_oet_device').info('a line')\n"
    )
    thrown = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True
    )
    assert thrown.stderr.endswith(b"|a line\n")
    kept = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (kept.stdout.endswith(b"|a line\n"), kept.stderr) == (True, b"")
