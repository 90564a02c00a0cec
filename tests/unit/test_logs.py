"""Log lines in the SKA's standard format."""

from __future__ import annotations

import logging
import re
import sys

from support.forked import in_a_child

from ska_oet_device.logs import SkaFormatter, configure_logging

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


def test_a_traceback_follows_the_line():
    try:
        raise ValueError("what went wrong")
    except ValueError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    line = SkaFormatter().format(failed)
    assert LINE.match(line.splitlines()[0])["message"] == "failed"
    assert line.splitlines()[-1] == "ValueError: what went wrong"


@in_a_child  # it replaces the handlers of the root logger
def test_the_log_goes_to_standard_error_once_and_replaces_what_was_set_up_before(capsys):
    configure_logging("first:1")
    configure_logging("second:2")
    logging.getLogger("some.module").info("hello %s", "you")
    logging.getLogger("some.module").debug("not shown")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    found = LINE.fullmatch(lines[0])
    assert (found["tags"], found["message"], found["level"]) == ("second:2", "hello you", "INFO")
