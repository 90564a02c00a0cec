"""ProcessManager: asks for processes, and knows the state of each."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from ska_oet_device.config import Settings
from ska_oet_device.errors import NotAllowedError, NotConnectedError, ScriptNotFoundError
from ska_oet_device.event import topics
from ska_oet_device.procedure.domain import (
    FileSystemScript,
    LifecycleMessage,
    ProcedureInput,
    ProcedureState,
    ProcessManager,
)

SCRIPT = FileSystemScript(f"file://{__file__}")
MANAGEMENT = topics.procedure.management


class FakeMainLoop:
    """Hears what is asked of main_loop."""

    def __init__(self, manager: ProcessManager) -> None:
        self.manager, bus = manager, manager.bus
        self.asked: list[tuple[Any, ...]] = []
        bus.subscribe(self._create, MANAGEMENT.create)
        bus.subscribe(self._run, MANAGEMENT.run)
        bus.subscribe(self._stop, MANAGEMENT.stop)

    def _create(self, msg_src, load):
        self.asked.append(("create", msg_src, load))

    def _run(self, msg_src, call, run_args, force_start, after=None):
        self.asked.append(("run", msg_src, call, run_args, force_start, after))

    def _stop(self, msg_src, reason=""):
        self.asked.append(("stop", msg_src))


@pytest.fixture
def manager():
    return ProcessManager()


@pytest.fixture
def main_loop(manager):
    return FakeMainLoop(manager)


def enter(manager: ProcessManager, pid: int, state: ProcedureState) -> None:
    manager.bus.publish(topics.procedure.lifecycle.statechange, message=LifecycleMessage(pid, state))


def created(manager: ProcessManager, state: ProcedureState = ProcedureState.CREATING) -> int:
    pid = manager.create(SCRIPT, init_args=ProcedureInput())
    enter(manager, pid, state)
    return pid


class TestCreate:
    def test_asks_main_loop_and_returns_ids_that_count_up(self, manager, main_loop):
        assert [manager.create(SCRIPT, init_args=ProcedureInput(1)) for _ in range(3)] == [1, 2, 3]
        for asked, pid in zip(main_loop.asked, (1, 2, 3), strict=True):
            what, who, load = asked
            assert (what, who, load.process_uid) == ("create", pid, pid)
            assert (load.script, load.path) == (SCRIPT.as_data(), os.path.realpath(__file__))
            assert load.init_args == {"args": [1], "kwargs": {}}
            assert (load.grace, load.timeouts["LoadTimeout"]) == (5.0, 60.0)
        assert len({load.run_id for _, _, load in main_loop.asked}) == 3

    def test_says_at_once_that_nobody_would_hear_it(self, manager):
        with pytest.raises(NotConnectedError, match="start_engine"):
            manager.create(SCRIPT, init_args=ProcedureInput())
        assert manager.get_state(1) is None

    def test_refuses_what_is_not_there_or_may_not_be_run(self, main_loop, tmp_path):
        with pytest.raises(ScriptNotFoundError):
            main_loop.manager.create(FileSystemScript("file:///nowhere.py"), init_args=ProcedureInput())
        strict = ProcessManager(bus=main_loop.manager.bus, settings=Settings(script_roots=(str(tmp_path),)))
        with pytest.raises(NotAllowedError):
            strict.create(SCRIPT, init_args=ProcedureInput())
        assert main_loop.asked == []

    def test_the_state_is_creating_already_when_main_loop_is_asked(self, manager):
        seen = []

        def listener(msg_src, load):
            seen.append(manager.get_state(msg_src))

        manager.bus.subscribe(listener, MANAGEMENT.create)
        manager.create(SCRIPT, init_args=ProcedureInput())
        assert seen == [ProcedureState.CREATING]

    def test_takes_ids_from_where_it_is_told(self):
        main_loop = FakeMainLoop(ProcessManager(next_id=lambda: 42))
        assert main_loop.manager.create(SCRIPT, init_args=ProcedureInput()) == 42


class TestRun:
    def test_asks_main_loop_for_a_ready_procedure(self, manager, main_loop):
        pid = created(manager, ProcedureState.READY)
        manager.run(pid, call="main", run_args=ProcedureInput(1))
        assert main_loop.asked[1:] == [("run", pid, "main", ProcedureInput(1), False, None)]

    @pytest.mark.parametrize("state", set(ProcedureState) - {ProcedureState.READY})
    def test_refuses_one_that_is_not_ready(self, manager, main_loop, state):
        pid = created(manager, state)
        with pytest.raises(ValueError, match=state.name):
            manager.run(pid, call="main", run_args=ProcedureInput())
        assert len(main_loop.asked) == 1

    @pytest.mark.parametrize("state", list(ProcedureState))
    def test_force_start_is_for_whatever_lives(self, manager, main_loop, state):
        pid = created(manager, state)
        if state.is_terminal:
            with pytest.raises(ValueError, match=state.name):
                manager.run(pid, call="main", run_args=ProcedureInput(), force_start=True)
        else:
            manager.run(pid, call="f", run_args=ProcedureInput(), force_start=True, after=7)
            assert main_loop.asked[-1] == ("run", pid, "f", ProcedureInput(), True, 7)

    def test_refuses_what_does_not_exist(self, manager, main_loop):
        with pytest.raises(ValueError, match="99"):
            manager.run(99, call="main", run_args=ProcedureInput(), force_start=True)
        assert main_loop.asked == []


class TestStop:
    @pytest.mark.parametrize("state", list(ProcedureState))
    def test_is_asked_for_whatever_may_live_and_harmless_for_what_has_ended(self, manager, main_loop, state):
        pid = created(manager, state)
        manager.stop(pid)
        assert main_loop.asked[1:] == ([] if state.is_final else [("stop", pid)])

    def test_refuses_what_does_not_exist(self, manager):
        with pytest.raises(ValueError, match="99"):
            manager.stop(99)


class TestStates:
    def test_follow_the_bus_when_they_are_its_own(self, manager, main_loop):
        pid = created(manager)
        assert manager.get_state(pid) is ProcedureState.CREATING
        enter(manager, pid, ProcedureState.IDLE)
        assert manager.get_state(pid) is ProcedureState.IDLE

    def test_of_an_unknown_procedure_is_none(self, manager):
        assert manager.get_state(99) is None

    def test_has_running_says_whether_any_is(self, manager, main_loop):
        first, second = created(manager, ProcedureState.READY), created(manager, ProcedureState.READY)
        assert not manager.has_running()
        enter(manager, second, ProcedureState.RUNNING)
        assert manager.has_running()
        enter(manager, second, ProcedureState.COMPLETE)
        assert not manager.has_running()
        assert manager.get_state(first) is ProcedureState.READY

    def test_that_are_shared_are_updated_by_their_owner_alone(self):
        states: dict[int, ProcedureState] = {}
        main_loop = FakeMainLoop(ProcessManager(states, threading.RLock()))
        manager = main_loop.manager
        pid = manager.create(SCRIPT, init_args=ProcedureInput())
        assert states == {pid: ProcedureState.CREATING}
        enter(manager, pid, ProcedureState.READY)
        assert states == {pid: ProcedureState.CREATING}
        states[pid] = ProcedureState.RUNNING
        assert manager.get_state(pid) is ProcedureState.RUNNING
        assert manager.has_running()

    def test_an_empty_dictionary_is_shared_too(self):
        states: dict[int, ProcedureState] = {}
        main_loop = FakeMainLoop(ProcessManager(states, threading.RLock()))
        main_loop.manager.create(SCRIPT, init_args=ProcedureInput())
        assert len(states) == 1

    def test_of_two_managers_are_their_own(self):
        one, other = FakeMainLoop(ProcessManager()), ProcessManager()
        created(one.manager)
        assert other.get_state(1) is None

    def test_wait_for_the_lock_they_share(self):
        lock, answers = threading.RLock(), []
        manager = ProcessManager({1: ProcedureState.READY}, lock)
        thread = threading.Thread(target=lambda: answers.append(manager.get_state(1)))
        with lock:
            thread.start()
            thread.join(0.05)
            assert answers == []
        thread.join()
        assert answers == [ProcedureState.READY]
