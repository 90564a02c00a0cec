"""No command waits for a script, whatever that is doing; how long commands take is measured in bench/."""

import contextlib
import json
import statistics
import time

import psutil
import pytest
from support.tango_server import filesystem

HANGS = 2.0  # seconds: ten times what is promised, for the machine may be busy


def _times_of(calls, repeat=15):
    times = []
    for _ in range(repeat):
        for call in calls:
            began = time.monotonic()
            call()
            times.append(time.monotonic() - began)
    return times


@pytest.mark.parametrize(
    "script", ["flood_stdout.py", "flood_pubsub.py", "deaf.py", "stubborn.py", "hangs_at_import.py", "slow_init.py"]
)
def test_commands_do_not_wait_for_a_script(oet, script):
    with oet.properties(StopGracePeriod=60):  # a client gives up before: no Stop waits for the end of a deaf one
        if script in ("hangs_at_import.py", "slow_init.py"):
            uid = oet.prepare(script)
            oet.recorder.wait_for_state(uid, "LOADING" if script == "hangs_at_import.py" else "INITIALISING")
        else:
            uid = oet.running(script)
        prepared = []
        times = _times_of(
            [
                lambda: oet.proxy.Summarise([]),
                lambda: oet.proxy.LifecycleEvents(max(0, oet.proxy.lifecycleSequence - 10)),
                lambda: prepared.append(json.loads(oet.proxy.Prepare(json.dumps({"script": filesystem("good.py")})))),
                lambda: oet.proxy.Stop(str(prepared[-1]["id"])),
                lambda: oet.proxy.State(),
                lambda: oet.proxy.procedures,
                lambda: oet.proxy.healthState,
                lambda: oet.proxy.OverrideWaitForQaReady(),
            ]
        )
        oet.stop(uid)
        times += _times_of([lambda: oet.proxy.Summarise([uid])], 5)
        assert statistics.quantiles(times, n=10)[-1] < HANGS  # one kind of call is more than a tenth of them
        for worker in oet.server.workers():  # nobody need wait for the end of a deaf one
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        # An answered Stop is on its way to main, which may see the process end before it has read that: FAILED.
        assert oet.recorder.wait_for_end(uid)["state"] in ("STOPPED", "FAILED")


def test_a_large_argument_holds_nobody_up(oet):
    request = json.dumps({"script": filesystem("good.py"), "init_args": {"kwargs": {"subarray_id": "x" * 1_000_000}}})
    times = _times_of([lambda: oet.proxy.Prepare(request)], 7)
    assert statistics.median(times) < HANGS
