"""Telling what went wrong in a script, in the user's terms."""

from __future__ import annotations

import linecache
import sys

import pytest
import tango
from support import loading

from ska_oet_device.errors import OetError
from ska_oet_device.procedure.domain import ProcedureInput
from ska_oet_device.procedure.worker._call import bind
from ska_oet_device.procedure.worker._event_loop import ScriptLoop
from ska_oet_device.procedure.worker._failures import is_way_out, reason_of, trace_of
from ska_oet_device.procedure.worker._functions import ScriptCallError

pytestmark = pytest.mark.usefixtures("own_modules")

NOT_A_WORKERS = (__file__, loading.__file__)


def raised_by(function, *args) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        while error.__traceback__ is not None and error.__traceback__.tb_frame.f_code.co_filename in NOT_A_WORKERS:
            error.__traceback__ = error.__traceback__.tb_next  # the worker has no frames of a test
        return error
    raise AssertionError("nothing was raised")


def plain(a, b=2):
    pass


class HostileError(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")


class NotTextError(Exception):
    def __str__(self):
        return 3  # noqa: PLE0307 - as a script may do by mistake


class TestTheReason:
    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (ValueError("no such receiver"), "ValueError: no such receiver"),
            (ValueError(), "ValueError"),
            (ValueError("  \n "), "ValueError"),
            (ValueError("\nfirst\nsecond"), "ValueError: first; second"),
            (KeyError("x"), "KeyError: 'x'"),
            (SystemExit(3), "SystemExit: 3"),
            (ScriptCallError("as it is"), "as it is"),
            (HostileError(), "HostileError: (its text cannot be shown)"),
            (NotTextError(), "NotTextError: (its text cannot be shown)"),
        ],
    )
    def test_is_one_line_that_says_what_was_raised(self, error, reason):
        assert reason_of(error) == reason

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("Command failed:\n  no such receiver\n", "Command failed: no such receiver"),
            (
                "1 validation error for Config\nfrequency\n  not a number",
                "1 validation error for Config; frequency; not a number",
            ),
            ("first\n" + "second " * 50, "first ..."),
            ("x" * 2000 + "\nsecond", "x" * 1000 + " ..."),
            ("first\nsecond\n" + "third " * 60 + "\nfourth", "first; second ..."),
        ],
    )
    def test_of_several_lines_has_as_many_as_fit(self, text, line):
        assert reason_of(RuntimeError(text)) == f"RuntimeError: {line}"
        assert reason_of(OetError(text)) == line

    def test_of_megabytes_is_found_at_once_and_short(self):
        error = UnicodeDecodeError("utf-8", b"a" * 5_000_000 + b"\xff", 5_000_000, 5_000_001, "invalid start byte")
        assert reason_of(error) == (
            "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 5000000: invalid start byte"
        )
        assert len(reason_of(ValueError("\n" * 5_000_000 + "x" * 5_000_000))) < 1100

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            ("assert 1 == 2", "AssertionError: assert 1 == 2 (script.py, line 2)"),
            ("next(iter(()))", "StopIteration: next(iter(())) (script.py, line 2)"),
            ("raise GeneratorExit", "GeneratorExit: raise GeneratorExit (script.py, line 2)"),
            (
                "import asyncio; raise asyncio.CancelledError",
                "CancelledError: import asyncio; raise asyncio.CancelledError (script.py, line 2)",
            ),
            ("main()", "RecursionError: maximum recursion depth exceeded"),
            (
                "import queue; queue.Queue().get_nowait()",
                "Empty: import queue; queue.Queue().get_nowait() (script.py, line 2)",
            ),
        ],
    )
    def test_of_what_says_nothing_is_the_line_that_has_raised_it(self, load, body, reason):
        module = load(f"def main():\n    {body}\n")
        assert reason_of(raised_by(module.main)).startswith(reason)

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (
                "raise RuntimeError('scan failed') from KeyError('x')",
                "RuntimeError: scan failed; caused by KeyError: 'x'",
            ),
            ("raise RuntimeError from KeyError('x')", "RuntimeError; caused by KeyError: 'x'"),
            ("raise RuntimeError('a' * 290) from KeyError('x')", "RuntimeError: " + "a" * 290),
        ],
    )
    def test_names_the_cause_if_that_fits(self, load, body, reason):
        assert reason_of(raised_by(load(f"def main():\n    {body}\n").main)) == reason

    def test_tells_notes(self):
        error = ValueError("no such receiver")
        error.__notes__ = ["of SKA001", 5]
        assert reason_of(error) == "ValueError: no such receiver; of SKA001"

    def test_of_a_group_names_the_first_of_it(self, load):
        if sys.version_info < (3, 11):
            pytest.skip("there are no groups")
        errors = "[ValueError('a'), KeyError('b'), ExceptionGroup('inner', [OSError('c')]), ValueError('d')]"
        error = raised_by(load(f"def main():\n    raise ExceptionGroup('two dishes', {errors})\n").main)
        assert reason_of(error) == (
            "ExceptionGroup: two dishes (4 sub-exceptions): ValueError: a; KeyError: 'b'; "
            "ExceptionGroup: inner (1 sub-exception): OSError: c; and 1 more"
        )

    @pytest.mark.parametrize("text", ["", ", text=True"])
    def test_of_a_program_that_failed_has_its_last_words(self, load, text):
        command = "['sh', '-c', 'echo first >&2; echo no such dish >&2; exit 3']"
        module = load(f"import subprocess\ndef main():\n    subprocess.run({command}, check=True, stderr=-1{text})\n")
        assert reason_of(raised_by(module.main)).endswith("returned non-zero exit status 3.: no such dish")

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (
                "import argparse; argparse.ArgumentParser('scan').parse_args(['--n'])",
                "SystemExit: 2: scan: error: unrecognized arguments: --n",
            ),
            (
                "import optparse; optparse.OptionParser(prog='scan').parse_args(['--n'])",
                "SystemExit: 2: scan: error: no such option: --n",
            ),
            ("import sys; sys.exit('no wind\\nno scan')", "SystemExit: no wind; no scan"),
            ("import sys; sys.exit(2)", "SystemExit: 2"),
            (
                "try: int('x')\n    except ValueError: raise SystemExit(2)",
                "SystemExit: 2: after ValueError: invalid literal for int() with base 10: 'x'",
            ),
        ],
    )
    def test_of_an_exit_is_what_made_it(self, load, body, reason):
        assert reason_of(raised_by(load(f"def main():\n    {body}\n").main)) == reason

    def test_is_not_endless(self):
        assert len(reason_of(ValueError("x" * 100_000))) < 1100


CORBA = ("API_CorbaException", "TRANSIENT CORBA system exception: TRANSIENT_ConnectFailed")


def dev_failed(*stack: tuple[str, str]) -> tango.DevFailed:
    """Return what a Tango client raises, as it was seen with PyTango 10.3: what went wrong first comes first."""
    errors = []
    for reason, desc in stack:
        error = tango.DevError()
        error.reason, error.desc, error.origin = reason, desc, "origin"
        errors.append(error)
    return tango.DevFailed(*errors)


class TestTheReasonOfADevFailed:
    @pytest.mark.parametrize(
        ("stack", "reason"),
        [
            (
                [
                    ("Mount_Limit", "azimuth 900 is out of range"),
                    ("PyDs_UnexpectedFailure", "Cannot execute command"),
                    ("API_CommandFailed", "Failed to execute command_inout on device sim/mount/1, command Slew"),
                ],
                "DevFailed: Mount_Limit: azimuth 900 is out of range (command Slew of sim/mount/1)",
            ),
            (
                [
                    ("PyDs_PythonError", "RuntimeError: park failed\nfor the wind\n"),
                    ("API_AttributeFailed", "Failed to write_attribute on device sim/mount/1, attribute mode"),
                ],
                "DevFailed: PyDs_PythonError: RuntimeError: park failed; for the wind (attribute mode of sim/mount/1)",
            ),
            (
                [
                    ("API_CorbaException", "TRANSIENT CORBA system exception: TRANSIENT_CallTimedout"),
                    ("API_DeviceTimedOut", "Timeout (500 mS) exceeded on device sim/mount/1, command Slew"),
                ],
                "DevFailed: API_DeviceTimedOut: Timeout (500 mS) exceeded on device sim/mount/1, command Slew",
            ),
            (
                [CORBA, ("API_ServerNotRunning", "Failed to connect to device sim/mount/1")],
                "DevFailed: API_ServerNotRunning: Failed to connect to device sim/mount/1",
            ),
            (
                [
                    CORBA,
                    ("API_CantConnectToDevice", "Failed to connect to device sim/dish/2"),
                    ("API_CommandFailed", "Failed to execute command_inout on device sim/mount/1, command Slew"),
                ],
                "DevFailed: API_CantConnectToDevice: Failed to connect to device sim/dish/2"
                " (command Slew of sim/mount/1)",
            ),
            ([CORBA], "DevFailed: API_CorbaException: TRANSIENT CORBA system exception: TRANSIENT_ConnectFailed"),
            ([("R", "d" * 400)], "DevFailed: R: " + "d" * 400),
        ],
    )
    def test_is_reason_and_description_of_the_error_that_matters(self, stack, reason):
        assert reason_of(dev_failed(*stack)) == reason

    def test_of_a_derived_one_has_its_name(self):
        error = tango.CommunicationFailed(*dev_failed(("API_DeviceTimedOut", "Timeout")).args)
        assert reason_of(error) == "CommunicationFailed: API_DeviceTimedOut: Timeout"

    def test_of_one_without_a_stack_says_where_it_was_raised(self, load):
        module = load("import tango\ndef main():\n    raise tango.DevFailed\n")
        assert reason_of(raised_by(module.main)) == "DevFailed: raise tango.DevFailed (script.py, line 3)"

    def test_that_was_the_cause_is_told_as_well(self, load):
        module = load("def main(cause):\n    raise RuntimeError('scan failed') from cause\n")
        error = raised_by(module.main, dev_failed(("Mount_Limit", "too far")))
        assert reason_of(error) == "RuntimeError: scan failed; caused by DevFailed: Mount_Limit: too far"


class TestTheTrace:
    def test_shows_the_users_frames_only_and_the_line_that_failed(self, load):
        module = load("def main():\n    helper()\ndef helper():\n    raise ValueError('why')\n")
        trace = trace_of(raised_by(bind("main", module.main, ProcedureInput(), {}).run, ScriptLoop()))
        lines = trace.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[-1] == "ValueError: why"
        assert "    helper()" in lines
        assert "/worker/" not in trace
        assert trace.count("  File ") == 2

    def test_of_a_coroutine_shows_no_frames_of_asyncio(self, load):
        module = load("async def main():\n    raise ValueError('why')\n")
        trace = trace_of(raised_by(bind("main", module.main, ProcedureInput(), {}).run, ScriptLoop()))
        assert "asyncio" not in trace
        assert trace.count("  File ") == 1

    def test_of_a_mistake_in_the_file_shows_where_it_is(self, load):
        trace = trace_of(raised_by(load, "def main(:\n"))
        assert "script.py" in trace
        assert "def main(:" in trace
        assert "SyntaxError" in trace

    def test_of_a_failure_at_import_begins_in_the_script(self, load):
        trace = trace_of(raised_by(load, "import no_such_module_anywhere\n"))
        assert "script.py" in trace.splitlines()[1]
        assert "/worker/" not in trace

    def test_shows_chained_exceptions(self, load):
        module = load(
            "def main():\n"
            "    try:\n"
            "        int('x')\n"
            "    except ValueError as error:\n"
            "        raise RuntimeError('outer') from error\n"
        )
        trace = trace_of(raised_by(module.main))
        assert "invalid literal" in trace
        assert "direct cause" in trace
        assert trace.rstrip().endswith("RuntimeError: outer")
        assert "/worker/" not in trace

    def test_shows_the_code_that_ran_also_after_an_edit(self, load, tmp_path):
        module = load("def main():\n    raise ValueError('as loaded')\n")
        (tmp_path / "script.py").write_text("def main():\n    pass  # as edited\n")
        linecache.checkcache()
        assert "raise ValueError('as loaded')" in trace_of(raised_by(module.main))

    def test_is_none_where_no_user_code_was_running(self):
        assert trace_of(raised_by(bind, "main", plain, ProcedureInput(), {})) is None

    def test_of_a_hostile_exception_says_at_least_its_kind(self):
        assert "HostileError" in trace_of(HostileError())

    def test_is_cut_in_the_middle_when_it_is_too_long(self):
        trace = trace_of(ValueError("a" * 200_000 + "end"))
        assert len(trace) < 66 * 1024
        assert "characters left out" in trace
        assert trace.rstrip().endswith("end")

    def test_of_endless_recursion_is_short(self, load):
        module = load("def main():\n    main()\n")
        assert "previous line repeated" in trace_of(raised_by(module.main)).lower()


def test_a_class_that_is_merely_called_as_a_group_is_no_way_out():
    assert not is_way_out(type("BaseExceptionGroup", (Exception,), {})("of its own"))
