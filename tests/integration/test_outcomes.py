"""What becomes of a script that is to end: whether it was stopped or has completed, and whether it has cleaned up."""

from __future__ import annotations

import pytest
from support.main_process import MainProcess

pytestmark = pytest.mark.long

STOPPED, COMPLETE, FAILED = "STOPPED", "COMPLETE", "FAILED"

HEAD = """
import asyncio, atexit, contextlib, os, signal, sys, time
from pubsub import pub
from ska_oet_device import scripting

class Told(BaseException):
    pass

def fail(*args):
    raise RuntimeError("park failed: wind")

def sleep(what=time.sleep):
    pub.sendMessage("armed")
    what(600)
"""

CLEAN_UPS = {
    "finally": """
def main():
    try:
        sleep()
    finally:
        fail()
""",
    "except": """
def main():
    try:
        sleep()
    except BaseException:
        fail()
""",
    "context manager": """
class Parked:
    def __enter__(self): pass
    __exit__ = fail
def main():
    with Parked():
        sleep()
""",
    "generator": """
@contextlib.contextmanager
def parked():
    try:
        yield
    finally:
        fail()
def main():
    with parked():
        sleep()
""",
    "coroutine": """
async def main():
    try:
        pub.sendMessage("armed")
        await asyncio.sleep(600)
    finally:
        fail()
""",
    "exit stack": """
def main():
    with contextlib.ExitStack() as stack:
        stack.callback(fail)
        sleep()
""",
}

WAYS_OUT = {
    "swallowed": "except BaseException: return",
    "exit": "except BaseException: sys.exit(3)",
    "exit with a text": "except KeyboardInterrupt: sys.exit('interrupted')",
    "another interrupt": "except BaseException: raise KeyboardInterrupt",
    "in a library's words": "except BaseException as error: raise RuntimeError('scan ended') from error",
    "cancelled": "except BaseException: raise asyncio.CancelledError",
    "by itself": "except BaseException: scripting.stop('wind')",
}


@pytest.fixture(scope="module")
def main():
    """One main process for all of them."""
    main = MainProcess()
    yield main
    main.end()


@pytest.fixture
def ended(main, script):
    """Run main of a script, stop it once it says that it is armed, and return its state and its end."""

    def ended(source, **options):
        uid = main.armed(script(HEAD + source), **options)
        main.stop(uid)
        end = main.wait_for_end(uid)
        return main.states(uid)[-1], end

    return ended


class TestACleanUpThatFails:
    @pytest.mark.parametrize("source", CLEAN_UPS.values(), ids=CLEAN_UPS)
    def test_is_told(self, ended, source):
        state, end = ended(source)
        assert state == STOPPED
        assert end.reason == "stopped on request; its clean-up failed: RuntimeError: park failed: wind"
        assert end.exit["clean_up_error"] == "RuntimeError: park failed: wind"
        assert end.stacktrace.rstrip().endswith("RuntimeError: park failed: wind")

    def test_in_an_exit_function_is_told(self, ended):
        state, end = ended("def main():\n    atexit.register(fail)\n    sleep()\n")
        assert (state, end.reason) == (
            STOPPED,
            f"stopped on request; its clean-up failed: {end.exit['clean_up_error']}",
        )
        assert "exit function" in end.exit["clean_up_error"]

    @pytest.mark.parametrize(
        ("deed", "how"), [("os._exit(3)", "exit code 3"), ("os.abort()", "SIGABRT"), ("os.kill(0, 9)", "SIGKILL")]
    )
    def test_since_its_process_has_crashed_is_told(self, ended, deed, how):
        state, end = ended(f"def main():\n    try:\n        sleep()\n    finally:\n        {deed}\n")
        assert state == STOPPED
        assert end.reason == f"stopped on request; its clean-up failed: {end.exit['clean_up_error']}"
        assert how in end.exit["clean_up_error"]

    def test_since_it_took_too_long_is_told(self, ended):
        source = "def main():\n    try:\n        sleep()\n    finally:\n        time.sleep(600)\n"
        state, end = ended(source, grace=0.3)
        assert state == STOPPED
        assert end.exit["clean_up_error"] in end.reason
        assert "was killed" in end.exit["clean_up_error"]

    def test_of_a_deadline_is_told_as_well(self, main, script):
        # Long enough for main to get to what it cleans up behind, also where a busy machine holds it up.
        uid = main.running(script(HEAD + CLEAN_UPS["finally"]), timeouts={"RunTimeout": 3.0})
        end = main.wait_for_end(uid)
        assert main.states(uid)[-1] == FAILED
        assert end.reason.endswith("; its clean-up failed: RuntimeError: park failed: wind")
        assert "clean_up_error" in end.exit

    @pytest.mark.parametrize("clause", WAYS_OUT.values(), ids=WAYS_OUT)
    def test_is_not_what_a_script_says_that_leaves(self, ended, clause):
        state, end = ended(f"def main():\n    try:\n        sleep()\n    {clause}\n")
        assert (state, end.reason) == (STOPPED, "stopped on request")
        assert "clean_up_error" not in end.exit


OWN_HANDLERS = {
    "that sets a flag": """
def main():
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    pub.sendMessage("armed")
    while not told:
        time.sleep(0.01)
""",
    "that is put back": """
def main():
    told = []
    before = signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    try:
        pub.sendMessage("armed")
        while not told:
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGTERM, before)
""",
    "that exits": """
def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sleep()
""",
    "that is gone at once": """
def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    sleep()
""",
    "of asyncio": """
async def main():
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    pub.sendMessage("armed")
    await done.wait()
""",
    "of init": """
told = []
def init():
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
def main():
    pub.sendMessage("armed")
    while not told:
        time.sleep(0.01)
""",
}


class TestAHandlerOfTheScriptsOwn:
    @pytest.mark.parametrize("source", OWN_HANDLERS.values(), ids=OWN_HANDLERS)
    def test_leaves_half_way(self, ended, source):
        state, end = ended(source)
        assert (state, end.reason) == (STOPPED, "stopped on request")

    def test_may_raise(self, ended):
        source = "def tell(*_):\n    raise Told('wind')\ndef main():\n    signal.signal(15, tell)\n    sleep()\n"
        state, end = ended(source)
        assert (state, end.reason) == (STOPPED, "stopped on request; it raised Told: wind")
        assert "clean_up_error" not in end.exit

    @pytest.mark.parametrize(
        "how",
        [
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
            "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
            "signal.signal(signal.SIGTERM, fail); signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
        ],
    )
    def test_is_none_where_sigterm_passes_and_main_does_its_work(self, main, script, tmp_path, how):
        gone = tmp_path / "go on"
        uid = main.armed(
            script(
                f"{HEAD}\ndef main():\n    {how}\n    pub.sendMessage('armed')\n"
                f"    while not os.path.exists({str(gone)!r}):\n        time.sleep(0.01)\n"
            )
        )
        main.stop(uid)
        other = main.ready(script("def main(): pass\n"))  # main has done what came before
        main.stop(other)
        gone.touch()
        assert main.wait_for_end(uid).reason == "completed"
        assert main.states(uid)[-1] == COMPLETE

    @pytest.mark.parametrize("handler", ["signal.SIG_IGN", "lambda *_: None"])
    def test_that_init_has_left_does_not_keep_a_script_that_waits_from_its_end(self, main, script, handler):
        source = f"def init():\n    signal.signal(signal.SIGTERM, {handler})\ndef main(): pass\n"
        uid = main.ready(script(HEAD + source), grace=60.0)
        main.stop(uid)
        end = main.wait_for_end(uid)
        assert (main.states(uid)[-1], end.reason) == (STOPPED, "stopped on request")
        assert end.exit["signals_sent"] == ["SIGTERM"]

    def test_of_init_is_there_in_main_and_at_the_end(self, main, script):
        source = """
            import atexit, signal
            from pubsub import pub
            def own(*_): pass
            def tell(where):
                pub.sendMessage("own", where=where, own=signal.getsignal(signal.SIGTERM) is own)
            def init():
                signal.signal(signal.SIGTERM, own)
                atexit.register(tell, "exit")
            def main():
                tell("main")
        """
        uid = main.running(script(source))
        main.wait_for_end(uid)
        assert main.said(uid, "own") == [{"where": "main", "own": True}, {"where": "exit", "own": True}]

    def test_of_asyncio_that_is_gone_leaves_main_its_clean_up(self, ended, tmp_path):
        out = tmp_path / "out"
        state, end = ended(f"""
async def set_up():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)
def init():
    asyncio.run(set_up())
def main():
    try:
        sleep()
    finally:
        open({str(out)!r}, "w").close()
""")
        assert (state, end.reason, end.exit["exit_code"]) == (STOPPED, "stopped on request", 143)
        assert out.exists()

    def test_does_not_make_a_late_script_complete(self, main, script):
        uid = main.running(script(HEAD + OWN_HANDLERS["that sets a flag"]), timeouts={"RunTimeout": 0.5})
        end = main.wait_for_end(uid)
        assert (main.states(uid)[-1], "completed" in end.reason) == (FAILED, False)


SWALLOWED = {
    "__del__": """
class Link:
    def __del__(self):
        {busy}
def deed():
    Link()
""",
    "weak reference": """
import weakref
class Link: pass
def busy(_):
    {busy}
def deed():
    link = Link()
    ref = weakref.ref(link, busy)
    del link
""",
    "callback of C": """
import ctypes
@ctypes.CFUNCTYPE(None)
def busy():
    {busy}
deed = busy
""",
    "callback of C that tells nobody": """
import sqlite3
def busy(_):
    {busy}
database = sqlite3.connect(":memory:")
database.set_trace_callback(busy)
def deed():
    database.execute("select 1")
""",
    "hook of a fork": """
is_on = False
def busy():
    if is_on:
        {busy}
os.register_at_fork(before=busy)
def deed():
    global is_on
    is_on = True
    if os.fork() == 0:
        os._exit(0)
    is_on = False
    os.wait()
""",
}


BUSY = "until = time.monotonic() + 0.5; pub.sendMessage('armed')\nwhile time.monotonic() < until: pass"
CALLS_IT = """
def main():
    try:
        deed()
        time.sleep(600)
    finally:
        open(OUT, "w").close()
"""


class TestAnInterrupt:
    @pytest.mark.parametrize("source", SWALLOWED.values(), ids=SWALLOWED)
    def test_that_python_lets_out_of_nothing_is_raised_again(self, main, script, tmp_path, source):
        out = tmp_path / "out"
        depth = next(line for line in source.splitlines() if "{busy}" in line).index("{")
        body = source.replace("{busy}", BUSY.replace("\n", "\n" + " " * depth))
        uid = main.armed(script(f"{HEAD}OUT = {str(out)!r}\n{body}{CALLS_IT}"), grace=10.0)
        main.stop(uid)
        end = main.wait_for_end(uid)
        assert (main.states(uid)[-1], end.reason) == (STOPPED, "stopped on request")
        assert out.exists()


class TestTheReasonOfAStop:
    def test_is_kept_the_first_one(self, main, script):
        uid = main.armed(script(HEAD + "def main():\n    sleep()\n"))
        main.stop(uid, reason="clouds")
        main.stop(uid, reason="lunch")
        end = main.wait_for_end(uid)
        assert (end.reason, end.exit["stop_reason"]) == ("stopped on request: clouds", "clouds")


class TestAScriptThatEndsItself:
    @pytest.mark.parametrize(
        "source",
        [
            "def main():\n    scripting.stop('clouds\\n and wind')\n",
            "def main():\n    try:\n        scripting.stop('clouds and wind')\n    except Exception:\n        pass\n",
            "async def main():\n    scripting.stop('clouds and wind')\n",
            "def init():\n    scripting.stop('clouds and wind')\ndef main(): pass\n",
            "scripting.stop('clouds and wind')\ndef main(): pass\n",
        ],
    )
    def test_is_stopped_for_its_own_reason(self, main, script, source):
        uid = main.create(script(HEAD + source))
        main.run(uid, force=True)
        end = main.wait_for_end(uid)
        assert (main.states(uid)[-1], end.reason) == (STOPPED, "stopped by the script: clouds and wind")
        assert (end.exit["stop_reason"], end.exit["exit_code"]) == ("clouds and wind", 0)
        assert end.exit["signals_sent"] == []
        assert end.stacktrace is None

    def test_has_failed_if_its_clean_up_does(self, main, script):
        source = "def main():\n    try:\n        scripting.stop('clouds')\n    finally:\n        fail()\n"
        uid = main.running(script(HEAD + source))
        assert main.wait_for_end(uid).reason == "RuntimeError: park failed: wind"
        assert main.states(uid)[-1] == FAILED


class TestWhatMainReturns:
    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("def main():\n    return 1\n", "1"),
            ("def main():\n    return {'files': ['a.h5'], 'snr': 7.5}\n", '{"files": ["a.h5"], "snr": 7.5}'),
            ("async def main():\n    return [1]\n", "[1]"),
            ("def main():\n    yield\n    return 2\n", "2"),
            ("def main():\n    pass\n", None),
            ("def main():\n    sys.exit(0)\n", None),
        ],
    )
    def test_is_in_the_record(self, main, script, source, text):
        end = main.wait_for_end(main.running(script(HEAD + source)))
        assert (end.reason, end.exit.get("result")) == ("completed", text)
        assert "result_note" not in end.exit

    def test_of_another_function_is_not(self, main, script):
        uid = main.running(script(HEAD + "def other():\n    return 1\ndef main():\n    return 2\n"), fn_name="other")
        main.run(uid, force=True)
        assert main.wait_for_end(uid).exit["result"] == "2"

    def test_that_is_no_json_leaves_a_note(self, main, script):
        end = main.wait_for_end(main.running(script(HEAD + "def main():\n    return object()\n")))
        assert end.reason == "completed"
        assert end.exit["result_note"] == "the result is or holds a object, which is no JSON"

    def test_may_take_for_ever_and_be_stopped(self, ended):
        source = "class Slow(dict):\n    def items(self):\n        sleep()\ndef main():\n    return Slow()\n"
        state, end = ended(source)
        assert (state, end.reason) == (STOPPED, "stopped on request")
