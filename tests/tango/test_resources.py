"""Nothing is lost over many procedures, and nothing is spent where nothing happens.

SKA_OET_SOAK sets the number of cycles, 300 unless told otherwise.
"""

import json
import os
import time

import psutil
import pytest
from support.waiting import wait_until

CYCLES = int(os.environ.get("SKA_OET_SOAK", "300"))
GROWTH = 5 * 1024 * 1024  # bytes


def _usage(oet):
    main, server, template = oet.server.process, oet.server.device_server(), oet.server.template()
    return {
        name: {
            "descriptors": process.num_fds(),
            "threads": process.num_threads(),
            "memory": process.memory_full_info().uss,
        }
        for name, process in {"main": main, "device server": server, "template": template}.items()
    }


def _cycle(oet, count):
    start = oet.proxy.lifecycleSequence
    for _ in range(count):
        oet.recorder.wait_for_end(oet.run("good.py"), 20)
        if len(oet.recorder.arrivals) > 3000:
            start = _check(oet, start)
    return _check(oet, start)


def _check(oet, start):
    """Every event since `start` arrived once and in order; forget them."""
    oet.settle()
    pushed = [event["sequence"] for event in oet.recorder.lifecycle()]
    assert pushed == list(range(start + 1, start + 1 + len(pushed)))
    assert len(pushed) % 9 == 0
    assert {event["state"] for event in oet.recorder.lifecycle()[8::9]} <= {"COMPLETE"}  # none behind another check
    oet.recorder.clear()
    return start + len(pushed)


def _quiet_tree(oet):
    """Return the processes once the spares are there again and nothing comes or goes."""
    return _tree_of(oet, 6)


def _tree_of(oet, count):
    try:
        return wait_until(
            lambda: len(oet.server.spares()) == 2 and len(oet.server.tree()) == count and oet.server.tree(), 10
        )
    except AssertionError:
        raise AssertionError(f"not {count} processes with two spares: {oet.server.tree()}") from None


@pytest.mark.long
@pytest.mark.timeout(60 + CYCLES)
def test_many_procedures_lose_no_event_and_leave_nothing_behind(own_server):
    oet = own_server(HistoryLength=20)
    oet.recorder.clear()
    warm_up = max(60, CYCLES // 5)
    _cycle(oet, warm_up)
    _quiet_tree(oet)
    before = _usage(oet)
    newest = _cycle(oet, CYCLES)
    assert len(_quiet_tree(oet)) == 6
    after = _usage(oet)
    assert newest == oet.proxy.lifecycleSequence
    assert max(oet.proxy.procedureIds) == 1 + warm_up + CYCLES
    for name, usage in after.items():
        # Tango's own threads and connections come and go by a few, however many procedures there were.
        slack = 3 if name == "device server" else 0
        assert usage["descriptors"] <= before[name]["descriptors"] + slack, name
        assert usage["threads"] <= before[name]["threads"] + slack, name
        assert usage["memory"] - before[name]["memory"] < GROWTH, name
    assert len(json.loads(oet.proxy.Summarise([]))) <= 20


def _spent(processes):
    """Return switches and CPU time of every thread of the processes."""
    spent = {}
    for process in processes:
        for thread in os.listdir(f"/proc/{process.pid}/task"):
            with open(f"/proc/{process.pid}/task/{thread}/status") as file:
                switches = next(line.split()[1] for line in file if line.startswith("voluntary_ctxt"))
            with open(f"/proc/{process.pid}/task/{thread}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            spent[process.pid, thread] = (int(switches), int(fields[11]) + int(fields[12]))
    return spent


@pytest.mark.long
def test_ten_prepared_scripts_cost_nothing(own_server):
    oet = own_server()
    for _ in range(10):
        oet.ready("good.py")
    tree = _tree_of(oet, 16)
    device_server = oet.server.device_server()
    idle = [process for process in tree if process.pid != device_server.pid]
    for asked in (
        oet.server.process,
        oet.server.recorder(),
    ):  # each of them is asked every two seconds whether it is there
        idle.remove(asked)
    assert len(idle) == 13  # the template, ten workers, two spares

    def settled():
        before = _spent(idle)
        time.sleep(1.2)  # within a second the device server tells main what is recorded
        return before == _spent(idle)

    wait_until(settled, 20, "the machine has come to rest")
    began, before, (of_main,) = time.monotonic(), _spent(idle), _spent([oet.server.process]).values()
    time.sleep(3)
    after, (then_of_main,) = _spent(idle), _spent([oet.server.process]).values()
    rounds = int((time.monotonic() - began) / 2) + 1
    assert after == before
    # It asks the device server and the recorder every two seconds, and each of them answers.
    assert then_of_main[0] - of_main[0] <= rounds * 2 * 2
    assert then_of_main[1] - of_main[1] <= 1  # a hundredth of a second


def test_workers_are_small(oet):
    oet.ready("good.py")
    (worker,) = oet.server.workers()
    shared_aside = psutil.Process(worker.pid).memory_full_info().uss
    assert shared_aside < 12 * 1024 * 1024
