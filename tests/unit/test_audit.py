"""The audit keeps what was asked, and cannot be made to grow without bound by asking."""

from __future__ import annotations

import pytest

from ska_oet_device.errors import UnknownProcedureError
from ska_oet_device.procedure.application import Caller, ScriptExecutionService, StopProcessCommand
from ska_oet_device.procedure.application._audit import MANY, Audit
from ska_oet_device.procedure.history import MemoryHistory

ADA = Caller("python pid 4711 on host ws1", "Ada")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def history():
    return MemoryHistory("mid-oet/subarray/01")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def audit(history, clock):
    return Audit(history, clock)


def requests(history):
    return history.requests_before(0, 1000)[::-1]


def test_what_has_done_something_is_always_kept(audit, history):
    for number in range(1, 501):
        audit.keep("Start", ADA, number, "accepted")
    assert [request.process_uid for request in requests(history)] == list(range(1, 501))


def test_of_many_refusals_the_first_have_entries_and_the_rest_one(audit, history):
    for number in range(1, 10_001):
        audit.note("Stop", ADA, number, "OET_UnknownProcedure: there is none")
    audit.tell_left_out(at_once=True)
    kept = requests(history)
    assert [request.process_uid for request in kept] == [*range(1, 101), 0]
    assert kept[-1].command == MANY
    assert kept[-1].answer.startswith("9900 more requests since ")
    assert kept[-1].answer.endswith(
        "the last: Stop of python pid 4711 on host ws1: OET_UnknownProcedure: there is none"
    )
    audit.tell_left_out(at_once=True)
    assert len(requests(history)) == 101, "nothing was left out since"


def test_one_refusal_a_second_is_kept_for_ever(audit, history, clock):
    for _ in range(500):
        audit.note("Stop", ADA, 1, "no")
        clock.now += 1.0
        audit.tell_left_out()
    assert [request.answer for request in requests(history)] == ["no"] * 500


def test_a_flood_costs_little_more_than_an_entry_a_second(audit, history, clock):
    for _ in range(600):
        for _ in range(20):
            audit.note("Stop", ADA, 1, "no")
        clock.now += 1.0
        audit.tell_left_out()
    audit.tell_left_out(at_once=True)
    kept = requests(history)
    assert len(kept) < 100 + 600 * 1.15
    told = sum(int(request.answer.split()[0]) for request in kept if request.command == MANY)
    assert told + sum(request.command != MANY for request in kept) == 12_000, "each one is counted"


def test_every_text_is_short(audit, history):
    audit.note("Stop", Caller("c" * 100_000, "u" * 100_000), 1, "OET_Busy: " + "a" * 100_000)
    (request,) = requests(history)
    assert len(request.client) + len(request.user) + len(request.answer) < 1600
    assert "(100000 characters)" in request.user


def test_the_service_tells_the_rest_when_it_is_asked():
    service = ScriptExecutionService(history=MemoryHistory("d"))
    for pid in range(1, 201):
        with pytest.raises(UnknownProcedureError) as refused:
            service.stop(StopProcessCommand(pid))
        service.audit("Stop", ADA, pid, str(refused.value))
    newest, before = service.requests(0, 2)
    assert (newest.command, newest.answer.split()[0]) == (MANY, "100")
    assert before.process_uid == 100


def test_asking_for_the_rest_again_and_again_does_not_fill_the_history(audit, history, clock):
    for _ in range(100):
        audit.note("Stop", ADA, 1, "no")
    for _ in range(1000):
        audit.note("Stop", ADA, 1, "no")
        audit.tell_left_out_on_request()
    assert len(requests(history)) <= 102
    clock.now += 10.0
    audit.tell_left_out_on_request()
    told = sum(int(request.answer.split()[0]) for request in requests(history) if request.command == MANY)
    assert told == 1000, "each one is counted"
