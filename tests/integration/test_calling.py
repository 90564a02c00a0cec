"""Functions of every kind, called in a worker: they run to their end, and a stop has them clean up."""

from __future__ import annotations

import pytest
from support.waiting import wait_until

SAYS = "from pubsub import pub\ndef say(what):\n    pub.sendMessage('said', what=what)\n"

ONE_LOOP = """
    import asyncio
    from pubsub import pub
    async def init():
        global first, task
        first, task = asyncio.get_running_loop(), asyncio.create_task(go_on())
    async def go_on():
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        return "went on"
    async def part():
        pub.sendMessage("same", part=asyncio.get_running_loop() is first)
    async def main():
        pub.sendMessage("same", main=asyncio.get_running_loop() is first, task=await task)
"""

IDLE_TASK = """
    import asyncio
    from pubsub import pub
    async def beside():
        try:
            await asyncio.sleep(600)
        finally:
            pub.sendMessage("said", what="parked")
    async def init():
        global task
        task = asyncio.create_task(beside())
        await asyncio.sleep(0)
    def main():
        pass
"""

WAITS = "        yield 1\n        pub.sendMessage('armed')\n        time.sleep(600)\n"
STOPPED = {
    "generator": f"def main():\n    try:\n{WAITS}    finally:\n        yield\n        say('parked')\n",
    "async generator": (
        "async def main():\n    try:\n        yield 1\n        pub.sendMessage('armed')\n"
        "        await asyncio.sleep(600)\n    finally:\n        await asyncio.sleep(0)\n        say('parked')\n"
    ),
    "coroutine": (
        "async def main():\n    try:\n        pub.sendMessage('armed')\n"
        "        await asyncio.sleep(600)\n    finally:\n        await asyncio.sleep(0)\n        say('parked')\n"
    ),
    "generator of steps": (
        "def main():\n    try:\n        pub.sendMessage('armed')\n        while True:\n            yield\n"
        "    finally:\n        say('parked')\n"
    ),
    "async generator that never waits": (
        "async def main():\n    try:\n        pub.sendMessage('armed')\n        while True:\n            yield\n"
        "    finally:\n        say('parked')\n"
    ),
}


class TestWhatKindOfFunctionItIs:
    @pytest.mark.parametrize(
        "source",
        [
            "def main():\n    say('begin')\n    yield 1\n    say('end')\n",
            "async def main():\n    say('begin')\n    yield 1\n    say('end')\n",
            "class Observation:\n    def run(self):\n        say('begin')\n        yield 1\n        say('end')\n"
            "main = Observation().run\n",
            "class Observation:\n    async def __call__(self):\n        say('begin')\n        say('end')\n"
            "main = Observation()\n",
            "import functools\nasync def _main(x):\n    say('begin')\n    say('end')\n"
            "def init():\n    global main\n    main = functools.partial(_main, 1)\ndef main(): pass\n",
            "import concurrent.futures\ndef work():\n    say('begin')\n    say('end')\n"
            "def main():\n    with concurrent.futures.ThreadPoolExecutor() as p:\n        return p.submit(work)\n",
        ],
    )
    def test_it_runs_to_its_end(self, main, script, source):
        uid = main.running(script(SAYS + source))
        assert main.wait_for_end(uid).reason == "completed"
        assert [each["what"] for each in main.said(uid, "said")] == ["begin", "end"]

    @pytest.mark.parametrize("function", ["init", "part"])
    def test_so_do_init_and_the_others(self, main, script, function):
        source = f"{SAYS}def {function}():\n    say('begin')\n    yield 1\n    say('end')\ndef main(): pass\n"
        uid = main.ready(script(source))
        if function == "part":
            main.run(uid, "part")
        main.run(uid, force=True)
        assert main.wait_for_end(uid).reason == "completed"
        assert [each["what"] for each in main.said(uid, "said")] == ["begin", "end"]

    @pytest.mark.parametrize("kind", STOPPED)
    def test_a_stop_interrupts_it_and_it_cleans_up(self, main, script, kind):
        uid = main.armed(script(f"import asyncio, time\n{SAYS}{STOPPED[kind]}"))
        main.stop(uid)
        end = main.wait_for_end(uid)
        assert end.new_state.name == "STOPPED"
        assert end.exit["signals_sent"] == ["SIGTERM"]
        assert main.said(uid, "said") == [{"what": "parked"}]

    def test_what_a_generator_raises_fails_with_the_scripts_lines_alone(self, main, script):
        uid = main.running(script("def main():\n    yield 1\n    raise ValueError('in step 2')\n"))
        end = main.wait_for_end(uid)
        assert end.reason == "ValueError: in step 2"
        assert end.stacktrace.count("  File ") == 1

    def test_what_cannot_be_run_fails_with_a_reason(self, main, script):
        source = "import contextlib\n@contextlib.contextmanager\ndef main():\n    print('begin')\n    yield\n"
        end = main.wait_for_end(main.running(script(source)))
        assert end.new_state.name == "FAILED"
        assert end.reason.startswith("main is a context manager, of which no line runs")


class TestTheLoop:
    def test_is_one_for_the_life_of_a_script(self, main, script):
        uid = main.ready(script(ONE_LOOP))
        main.run(uid, "part")
        main.run(uid, force=True)
        assert main.wait_for_end(uid).reason == "completed"
        assert main.said(uid, "same") == [{"part": True}, {"main": True, "task": "went on"}]

    def test_what_init_left_running_cleans_up_when_main_has_returned(self, main, script):
        uid = main.running(script(IDLE_TASK))
        assert main.wait_for_end(uid).reason == "completed"
        assert main.said(uid, "said") == [{"what": "parked"}]

    def test_and_at_a_stop_while_no_function_runs(self, main, script):
        uid = main.ready(script(IDLE_TASK))
        main.stop(uid)
        assert main.wait_for_end(uid).new_state.name == "STOPPED"
        assert main.said(uid, "said") == [{"what": "parked"}]

    def test_is_closed_before_exit_functions(self, main, script):
        source = (
            f"import asyncio, atexit\n{SAYS}async def main():\n    loop = asyncio.get_running_loop()\n"
            "    atexit.register(lambda: say(loop.is_closed()))\n"
        )
        uid = main.running(script(source))
        assert main.wait_for_end(uid).reason == "completed"
        assert main.said(uid, "said") == [{"what": True}]

    def test_the_loops_of_other_threads_are_the_scripts_own(self, main, script):
        source = (
            f"import asyncio, threading\n{SAYS}"
            "def other():\n    asyncio.run(asyncio.sleep(0))\n    say('other')\n"
            "async def main():\n    thread = threading.Thread(target=other)\n    thread.start()\n"
            "    await asyncio.to_thread(thread.join)\n    say('main')\n"
        )
        uid = main.running(script(source))
        assert main.wait_for_end(uid).reason == "completed"
        assert [each["what"] for each in main.said(uid, "said")] == ["other", "main"]

    def test_a_script_that_does_without_asyncio_does_not_pay_for_it(self, new_main, script):
        source = (
            "import sys\nbefore = set(sys.modules)\n"
            + SAYS
            + ("def main():\n    say(sorted(name for name in set(sys.modules) - before if 'asyncio' in name))\n")
        )
        main = new_main()
        uid = main.running(script(source))
        main.wait_for_end(uid)
        assert main.said(uid, "said") == [{"what": []}]


def test_a_signal_of_its_own_between_two_steps_reaches_the_generator(main, script):
    source = (
        f"import os, signal\n{SAYS}class Alarm(Exception): pass\n"
        "def alarm(*_):\n    raise Alarm\n"
        "def main():\n    signal.signal(signal.SIGALRM, alarm)\n    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.05)\n        while True:\n            yield\n"
        "    except Alarm:\n        say('alarm')\n"
    )
    uid = main.running(script(source))
    assert main.wait_for_end(uid).reason == "completed"
    assert main.said(uid, "said") == [{"what": "alarm"}]


class TestTheSubarray:
    def test_that_is_filled_in_is_told_once_for_each_function(self, main, script):
        source = f"{SAYS}def init(subarray_id=1): say(subarray_id)\nmain = part = init\n"
        uid = main.ready(script(source), context={"subarray_id": 2})
        for _ in range(2):
            main.run(uid, "part", force=True, context={"subarray_id": 2})
        wait_until(lambda: len(main.said(uid, "said")) == 3, 20, "init and two calls")
        main.run(uid, force=True, context={"subarray_id": 3})
        main.wait_for_end(uid)
        assert [each["what"] for each in main.said(uid, "said")] == [2, 2, 2, 3]
        told = [each.provenance.get("filled_in") for each in main.told.provenance]
        init, part = {"init": {"subarray_id": 2}}, {"part": {"subarray_id": 2}}
        assert told == [None, init, {**init, **part}, {**init, **part, "main": {"subarray_id": 3}}]
        assert main.told.provenance[-1].provenance["sha256"] == main.told.provenance[0].provenance["sha256"]

    def test_that_somebody_has_given_wins_and_is_not_told(self, main, script):
        uid = main.ready(script(f"{SAYS}def init(subarray_id=1): say(subarray_id)\ndef main(): pass\n"), subarray_id=5)
        assert main.said(uid, "said") == [{"what": 5}]
        assert [each.provenance.get("filled_in") for each in main.told.provenance] == [None]


class TestAScriptWithoutMain:
    def test_is_told_so_before_any_of_its_lines_runs(self, main, script):
        uid = main.create(script(f"{SAYS}say('driving')\n"))
        end = main.wait_for_end(uid)
        assert main.states(uid) == ["IDLE", "LOADING", "FAILED"]
        assert end.reason.startswith("the script has no function main: put the observation into a function main")
        assert end.stacktrace is None
        assert main.said(uid, "said") == []
        assert main.told.provenance[0].provenance["sha256"]

    @pytest.mark.parametrize(
        ("source", "states"),
        [
            ("globals()['other'] = 1\n", ["IDLE", "LOADING", "FAILED"]),
            ("main = 3\n", ["IDLE", "LOADING", "FAILED"]),
            ("def main(): pass\ndel main\n", ["IDLE", "LOADING", "FAILED"]),
            ("def init():\n    global main\n", ["IDLE", "LOADING", "IDLE", "INITIALISING", "FAILED"]),
            (
                "import sys\ndef init():\n    global main\n    sys.exit(0)\n",
                ["IDLE", "LOADING", "IDLE", "INITIALISING", "FAILED"],
            ),
        ],
    )
    def test_is_never_ready_where_its_text_leaves_it_open(self, main, script, source, states):
        uid = main.create(script(source))
        assert main.wait_for_end(uid).reason.startswith("the script has ")
        assert main.states(uid) == states

    def test_may_be_given_one_by_init(self, main, script):
        source = f"{SAYS}import functools\ndef _main(n): say(n)\n"
        source += "def init(n):\n    global main\n    main = functools.partial(_main, n)\n"
        uid = main.running(script(source), n=4)
        assert main.wait_for_end(uid).reason == "completed"
        assert main.said(uid, "said") == [{"what": 4}]

    def test_is_ready_if_it_lists_what_can_be_started(self, main, script):
        uid = main.ready(script(f"{SAYS}__all__ = ['part']\ndef part(): say('part')\n"))
        main.run(uid, "part")
        main.wait_for_message(uid, "said")


def test_what_is_no_python_is_refused_in_the_worker_as_well(main, script):
    end = main.wait_for_end(main.create(script('{"cells": [], "nbformat": 4}', "scan.py")))
    assert end.reason.endswith(
        "scan.py is a notebook: convert it with `jupyter nbconvert --to script`, and put what"
        " it does into a function main"
    )
    assert end.stacktrace is None
