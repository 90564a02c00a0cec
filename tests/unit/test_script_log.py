"""The log of a script: the SKA's lines as long as it says nothing of its own, else as Python has it."""

from __future__ import annotations

import io
import logging
import logging.config
import re
import sys
import warnings

import pytest
from support.forked import in_a_child

from ska_oet_device.procedure.worker._script_log import configure_logging

LINE = re.compile(r"1\|[^|]*Z\|(?P<level>[A-Z]+)\|[^|]*\|[^|]*\|[^|#]*#\d+\|(?P<tags>[^|]*)\|(?P<message>.*)")


def begin():
    """Have standard output and standard error where a test sees them, as a script's process has them, and log."""
    sys.stdout = sys.__stdout__ = io.StringIO()
    sys.stderr = sys.__stderr__ = io.StringIO()
    configure_logging()
    return sys.stdout, sys.stderr


def told(printed):
    return [(found["level"], found["message"]) for found in map(LINE.fullmatch, printed[0].getvalue().splitlines())]


@in_a_child  # it replaces the handlers of the root logger
def test_it_goes_to_standard_output_once_and_replaces_what_was_set_up_before():
    logging.basicConfig(force=True)
    printed = begin()
    configure_logging("first:1")
    configure_logging("second:2")
    logging.getLogger("some.module").info("hello %s", "you")
    logging.getLogger("some.module").debug("not shown")
    found = LINE.fullmatch(printed[0].getvalue().rstrip("\n"))
    assert (found["tags"], found["message"], found["level"]) == ("second:2", "hello you", "INFO")
    assert printed[1].getvalue() == ""


@in_a_child
def test_nobody_who_looks_finds_that_it_is_set_up():
    begin()
    assert not logging.root.hasHandlers()
    assert not logging.getLogger("x").hasHandlers()
    assert not logging.root.handlers
    assert logging.root.handlers == logging.root.handlers[:] == []


@in_a_child
def test_a_library_with_a_null_handler_is_heard():
    printed = begin()
    logging.getLogger("library").addHandler(logging.NullHandler())
    logging.getLogger("library.part").info("hello")
    assert told(printed) == [("INFO", "hello")]


@in_a_child
def test_warnings_that_are_captured_are_heard():
    printed = begin()
    logging.captureWarnings(True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("mind the step", stacklevel=1)
    assert "UserWarning: mind the step" in printed[0].getvalue()


@in_a_child
def test_basic_config_works_as_in_plain_python(tmp_path):
    printed = begin()
    logging.basicConfig(filename=tmp_path / "scan.log", level=logging.DEBUG)
    logging.debug("x")
    logging.info("y")
    assert (tmp_path / "scan.log").read_text() == "DEBUG:root:x\nINFO:root:y\n"
    assert printed[0].getvalue() == printed[1].getvalue() == ""


@in_a_child
def test_basic_config_without_a_level_begins_at_warning():
    printed = begin()
    logging.basicConfig()
    logging.info("not shown")
    logging.warning("shown")
    assert (printed[0].getvalue(), printed[1].getvalue()) == ("", "WARNING:root:shown\n")


@in_a_child
def test_basic_config_with_force_replaces_what_the_script_had():
    printed = begin()
    logging.basicConfig(level=logging.INFO)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    logging.info("hello")
    assert (printed[0].getvalue(), printed[1].getvalue()) == ("hello\n", "")


@in_a_child
def test_a_handler_of_the_root_logger_replaces_ours_and_the_level_that_was_set_before_stays():
    printed = begin()
    logging.root.setLevel(logging.INFO)
    mine = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(mine)
    logging.info("hello")
    assert (printed[0].getvalue(), printed[1].getvalue()) == ("", "hello\n")
    logging.getLogger().removeHandler(mine)
    logging.info("ours again")
    assert told(printed) == [("INFO", "ours again")]


@in_a_child
def test_a_handler_of_another_logger_leaves_ours_as_it_is():
    printed = begin()
    logging.getLogger("scan").addHandler(logging.StreamHandler(sys.stderr))
    logging.getLogger("scan").info("hello")
    assert told(printed) == [("INFO", "hello")]
    assert printed[1].getvalue() == "hello\n"


@pytest.mark.parametrize("names_root", [True, False])
@in_a_child
def test_dict_config_works_as_in_plain_python(names_root):
    printed = begin()
    own = {"handlers": ["here"], "level": "DEBUG"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": True,
            "formatters": {"short": {"format": "%(levelname)s %(message)s"}},
            "handlers": {"here": {"class": "logging.StreamHandler", "formatter": "short", "stream": sys.stderr}},
            **({"root": own} if names_root else {"loggers": {"scan": {**own, "propagate": False}}}),
        }
    )
    logging.getLogger("scan").debug("hello")
    assert (printed[0].getvalue(), printed[1].getvalue()) == ("", "DEBUG hello\n")
    logging.getLogger("other").warning("and you")
    if names_root:
        assert printed[1].getvalue() == "DEBUG hello\nWARNING and you\n"
    else:
        assert told(printed) == [("WARNING", "and you")]


@in_a_child
def test_file_config_works_as_in_plain_python(tmp_path):
    printed = begin()
    (tmp_path / "log.ini").write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=here\n[formatters]\nkeys=short\n"
        "[logger_root]\nlevel=DEBUG\nhandlers=here\n"
        "[handler_here]\nclass=StreamHandler\nformatter=short\nargs=(sys.stderr,)\n"
        "[formatter_short]\nformat=%(levelname)s %(message)s\n"
    )
    logging.config.fileConfig(tmp_path / "log.ini")
    logging.debug("hello")
    assert (printed[0].getvalue(), printed[1].getvalue()) == ("", "DEBUG hello\n")


@in_a_child
def test_it_goes_where_standard_output_went_while_that_is_diverted_and_to_the_new_one_when_it_was_closed():
    printed = begin()
    diverted, sys.stdout = io.StringIO(), io.StringIO()
    logging.info("here")
    assert told(printed) == [("INFO", "here")]
    sys.__stdout__.close()
    sys.stdout = diverted
    logging.info("there")
    assert diverted.getvalue().endswith("|there\n")


@in_a_child
def test_a_logger_class_of_the_scripts_own_changes_nothing():
    class Mine(logging.Logger):
        pass

    printed = begin()
    logging.setLoggerClass(Mine)
    logging.getLogger("of my class").info("hello")
    assert told(printed) == [("INFO", "hello")]
