"""Every command answers within 200 ms, whatever the scripts are doing."""

import json
import statistics
import time

import pytest
from support.tango_server import filesystem

PROMISED = 0.2  # seconds, of most calls
CAP = 2.5  # seconds, of each one: a busy machine may hold any of them up, and after 3 s Tango's client gives up


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
def test_commands_answer_within_200_ms(oet, script):
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
    began = time.monotonic()
    oet.stop(uid)
    times.append(time.monotonic() - began)
    times += _times_of([lambda: oet.proxy.Summarise([uid])], 5)
    assert statistics.quantiles(times, n=10)[-1] < PROMISED  # 9 of 10: others keep the machine busy for a moment
    assert max(times) < CAP
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"


def test_a_large_argument_is_answered_within_200_ms(oet):
    request = json.dumps({"script": filesystem("good.py"), "init_args": {"kwargs": {"subarray_id": "x" * 1_000_000}}})
    times = _times_of([lambda: oet.proxy.Prepare(request)], 7)
    assert statistics.median(times) < PROMISED
    assert max(times) < CAP
