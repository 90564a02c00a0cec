"""Functions of every kind through the device: they run to their end, and are given what is theirs."""

from __future__ import annotations

import json
import textwrap

import pytest
from support.waiting import wait_until

DECORATED = """
    import time
    def timed(f):
        def w(*a, **k):
            t = time.time()
            try: return f(*a, **k)
            finally: print("took", time.time() - t)
        return w
    @timed
    def main(n=1): print("n", n)
"""


@pytest.fixture
def write(scratch, request):
    """Return how to write a script that the device may run; its name is the test's own."""

    def write(source: str) -> str:
        name = "".join(each if each.isalnum() else "_" for each in request.node.name)
        path = scratch / f"{name[:100]}.py"
        path.write_text(textwrap.dedent(source))
        return str(path)

    return write


def printed(oet, uid: int) -> str:
    """Return the output of a procedure that has ended: it is complete."""
    page = json.loads(oet.proxy.Output(str(uid)))
    assert page["complete"]
    return page["text"]


def prints(oet, uid: int, text: str) -> bool:
    """Say whether a procedure that is alive prints a text, and nothing else: the recorder takes its moment."""
    return wait_until(lambda: json.loads(oet.proxy.Output(str(uid)))["text"] == text, 10, f"{uid} prints {text!r}")


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def main(n=2):\n    print('begin')\n    for i in range(n):\n        print('step', i)\n        yield i\n", 3),
        ("async def main():\n    print('begin')\n    yield\n    print('end')\n", 2),
        ("def init():\n    print('init')\n    yield\n    print('end of init')\ndef main(): print('main')\n", 3),
        ("def deco(f):\n    return lambda: f()\n@deco\nasync def main():\n    print('main')\n", 1),
        (DECORATED, 2),
    ],
)
def test_a_function_of_any_kind_runs_to_its_end(oet, write, source, lines):
    uid = oet.run(write(source))
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert len(printed(oet, uid).splitlines()) == lines


def test_init_and_main_share_an_event_loop_and_with_it_a_proxy(oet, write):
    source = f"""
        import asyncio
        from tango.asyncio import DeviceProxy
        async def init():
            global proxy
            proxy = await DeviceProxy("{oet.name}")
        async def main():
            print(await proxy.ping() > 0, bool(await asyncio.wait_for(proxy.read_attribute("versionId"), 10)))
    """
    uid = oet.run(write(source))
    end = oet.recorder.wait_for_end(uid)
    assert end["state"] == "COMPLETE", end["reason"]
    assert printed(oet, uid) == "True True\n"


def test_a_stop_has_a_generator_clean_up(oet, write):
    source = """
        import time
        from pubsub import pub
        def main():
            try:
                yield
                pub.sendMessage("armed")
                time.sleep(600)
            finally:
                yield
                print("parked")
    """
    uid = oet.armed(write(source))
    oet.stop(uid)
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert printed(oet, uid) == "parked\n"


def test_a_failure_names_the_function_that_was_asked_for(oet, write):
    uid = oet.run(write("import functools\ndef _main(a, b): pass\nmain = functools.partial(_main, 1)\n"))
    reason = oet.recorder.wait_for_end(uid)["reason"]
    assert reason.startswith("the arguments do not fit main(b): ")


ON_SUBARRAY = """
    def init(subarray_id=1):
        print("driving subarray", subarray_id)
    def main():
        pass
"""


def test_init_is_given_the_devices_subarray_and_the_record_shows_it(other, write):
    uid = other.run(write(ON_SUBARRAY))
    assert other.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert printed(other, uid) == "driving subarray 2\n"
    summary = other.summary(uid)
    assert summary["provenance"]["filled_in"] == {"init": {"subarray_id": 2}}
    assert summary["script_args"][0]["fn_args"] == {"args": [], "kwargs": {}}


@pytest.mark.parametrize(("args", "kwargs"), [([5], {}), ([], {"subarray_id": 5})])
def test_a_subarray_that_was_given_wins(other, write, args, kwargs):
    uid = other.ready(write(ON_SUBARRAY), *args, **kwargs)
    assert prints(other, uid, "driving subarray 5\n")
    assert "filled_in" not in other.summary(uid)["provenance"]


def test_the_subarray_is_the_propertys_where_that_is_set(oet, write):
    with oet.properties(SubarrayId=7):
        uid = oet.ready(write(ON_SUBARRAY))
    assert prints(oet, uid, "driving subarray 7\n")


def test_a_script_without_main_drives_nothing_and_is_told_so(oet, write):
    uid = oet.prepare(write("print('driving')\nfor t in range(3):\n    print('tracking', t)\n"))
    end = oet.recorder.wait_for_end(uid)
    assert (end["previous"], end["state"]) == ("LOADING", "FAILED")
    assert "put the observation into a function main" in end["reason"]
    assert printed(oet, uid) == ""
