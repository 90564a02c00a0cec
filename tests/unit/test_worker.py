"""ScriptWorker, run in one process with queues and events of the standard library."""

from __future__ import annotations

import queue
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from support.forked import in_a_child

from ska_oet_device.mptools import EndOfWork, InterruptGate, ProcWorker, TerminateInterrupt
from ska_oet_device.procedure import messages
from ska_oet_device.procedure.domain import ProcedureState, RunThreadState, ScriptWorker, script_signal_handler

CONTEXT = {"wait_for_qa_ready": True, "subarray_id": 7}
GIVEN = {**CONTEXT, "process_uid": 3, "run_id": "run-id", "device": "mid-oet/subarray/01"}
NONE = {"args": [], "kwargs": {}}


class Harness:
    """A worker with its queues, in this process."""

    def __init__(self, folder: Path, source: str, **options: Any) -> None:
        self.path = (folder / "script.py").resolve()
        self.path.write_text(source)
        self.events: queue.Queue[Any] = queue.Queue()
        self.work: queue.Queue[Any] = queue.Queue()
        self.started, self.ending = threading.Event(), threading.Event()
        self.worker = ScriptWorker("w", self.started, self.ending, self.events, self.work, **options)

    def load(self, *args: Any, path: str = "", **kwargs: Any) -> messages.Load:
        return messages.Load(
            3,
            "run-id",
            {},
            path or str(self.path),
            [],
            {"args": args, "kwargs": kwargs},
            CONTEXT,
            {},
            5.0,
            device="mid-oet/subarray/01",
        )

    def run(self, *items: Any) -> list[Any]:
        """Work through the items, and return what was told."""
        for item in (*items, EndOfWork()):
            self.work.put(item)
        self.worker.run()
        told = []
        while not self.events.empty():
            told.append(self.events.get())
        return told


def summary(told: list[Any]) -> list[str]:
    """Return the states entered, and how it finished."""
    short = []
    for item in told:
        if isinstance(item, messages.StateEntered):
            short.append(ProcedureState(item.state).name)
        elif isinstance(item, messages.Finished):
            short.append(item.outcome)
    return short


def call(name: str = "main", *args: Any) -> messages.Run:
    return messages.Run(name, {"args": args, "kwargs": {}}, CONTEXT)


LOADED = ["IDLE", "LOADING", "IDLE"]


class TestLoad:
    @in_a_child
    def test_leads_to_ready_and_tells_what_was_read(self, tmp_path):
        harness = Harness(tmp_path, "def main(): pass\n")
        told = harness.run(harness.load())
        assert summary(told) == [*LOADED, "READY"]
        (loaded,) = [item for item in told if isinstance(item, messages.ScriptLoaded)]
        assert loaded.provenance["path"] == str(harness.path)
        assert len(loaded.provenance["sha256"]) == 64
        assert harness.started.is_set()

    @in_a_child
    def test_calls_init_with_its_arguments_and_the_context(self, tmp_path):
        harness = Harness(
            tmp_path,
            "def init(*args, context, **kwargs):\n    global given\n    given = args, kwargs, context\nmain = init\n",
        )
        told = harness.run(harness.load(1, a=2))
        assert summary(told) == [*LOADED, "INITIALISING", "READY"]
        assert harness.worker.module.given == ((1,), {"a": 2}, GIVEN)

    @in_a_child
    def test_gives_init_the_context_that_has_come_since(self, tmp_path):
        harness = Harness(tmp_path, "def init(context):\n    global given\n    given = context\nmain = init\n")
        harness.worker.context = {"wait_for_qa_ready": False, "subarray_id": 8}  # by the thread that reads the pipe
        harness.run(harness.load())
        assert harness.worker.module.given == {**GIVEN, "wait_for_qa_ready": False, "subarray_id": 8}

    @in_a_child
    def test_of_a_broken_script_fails_with_the_trace(self, tmp_path):
        harness = Harness(tmp_path, "raise ValueError('why')\ndef main(): pass\n")
        told = harness.run(harness.load())
        assert summary(told) == ["IDLE", "LOADING", "failed"]
        assert told[-1].reason == "ValueError: why"
        assert "script.py" in told[-1].stacktrace
        assert harness.ending.is_set()
        assert harness.worker.exit_status == 1

    @in_a_child
    def test_of_what_has_become_a_link_since_it_was_asked_for_is_refused(self, tmp_path):
        harness = Harness(tmp_path, "def main(): pass\n")
        (tmp_path / "link.py").symlink_to(harness.path)
        told = harness.run(harness.load(path=str(tmp_path.resolve() / "link.py")))
        assert summary(told) == ["IDLE", "LOADING", "failed"]
        assert "leads to" in told[-1].reason

    @in_a_child
    def test_marks_the_process_and_what_it_starts(self, tmp_path):
        import os
        import sys

        harness = Harness(tmp_path, "def main(): pass\n")
        harness.run(harness.load())
        told = {
            "SKA_OET_PROCESS_UID": "3",
            "SKA_OET_RUN_ID": "run-id",
            "SKA_OET_DEVICE": "mid-oet/subarray/01",
            "SKA_OET_SUBARRAY_ID": "7",
        }
        assert {name: os.environ[name] for name in told} == told
        assert sys.argv == [str(harness.path)]


class TestRun:
    @in_a_child
    def test_of_main_completes_the_procedure_and_ends_the_loop(self, tmp_path):
        harness = Harness(tmp_path, "def main(a): pass\n")
        told = harness.run(harness.load(), call("main", 1), call("main", 2))
        assert summary(told) == [*LOADED, "READY", "RUNNING", "READY", "completed"]
        assert harness.ending.is_set()
        assert harness.worker.run_state == RunThreadState(threading.main_thread(), "main")

    @in_a_child
    def test_of_another_function_returns_to_ready(self, tmp_path):
        harness = Harness(tmp_path, "def f(): pass\nmain = f\n")
        assert summary(harness.run(harness.load(), call("f"), call("f"))) == [
            *LOADED,
            "READY",
            *["RUNNING", "READY"] * 2,
        ]

    @in_a_child
    def test_that_raises_fails_and_remembers_what(self, tmp_path):
        harness = Harness(tmp_path, "def main(): raise KeyError('x')\n")
        told = harness.run(harness.load(), call())
        assert summary(told) == [*LOADED, "READY", "RUNNING", "failed"]
        assert told[-1].reason == "KeyError: 'x'"
        assert isinstance(harness.worker.run_state.exception, KeyError)

    @in_a_child
    def test_with_arguments_that_do_not_fit_fails_without_a_trace(self, tmp_path):
        harness = Harness(tmp_path, "def main(a): pass\n")
        told = harness.run(harness.load(), call())
        assert "do not fit main(a)" in told[-1].reason
        assert told[-1].stacktrace is None

    @in_a_child
    def test_of_a_function_that_is_not_there_fails_with_those_that_are(self, tmp_path):
        harness = Harness(tmp_path, "def observe(): pass\n__all__ = ['observe']\n")
        assert "it defines: observe" in harness.run(harness.load(), call("nothing"))[-1].reason

    @in_a_child
    def test_of_what_the_script_merely_imports_fails_and_runs_nothing(self, tmp_path):
        harness = Harness(tmp_path, "from os import system\ndef main(): pass\n")
        told = harness.run(harness.load(), call("system", f"touch {tmp_path}/ran"))
        assert summary(told) == [*LOADED, "READY", "RUNNING", "failed"]
        assert "it defines: main; system is no function of its own" in told[-1].reason
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        ("code", "outcome"), [("", "completed"), ("0", "completed"), ("3", "failed"), ("'no'", "failed")]
    )
    @in_a_child
    def test_that_leaves_by_sys_exit_ends_as_python_would(self, tmp_path, code, outcome):
        harness = Harness(tmp_path, f"import sys\ndef main(): sys.exit({code})\n")
        told = harness.run(harness.load(), call())
        assert summary(told)[-1] == outcome
        assert harness.worker.exit_status == {"": 0, "0": 0, "3": 3, "'no'": 1}[code]

    @in_a_child
    def test_that_is_told_to_stop_is_terminated(self, tmp_path):
        gate = InterruptGate()
        source = (
            "import signal\n"
            "def main():\n"
            "    try:\n"
            "        signal.raise_signal(15)\n"
            "    finally:\n"
            "        global cleaned\n"
            "        cleaned = 1\n"
        )
        harness = Harness(tmp_path, source, gate=gate)
        signal.signal(
            signal.SIGTERM, lambda number, frame: script_signal_handler(gate, TerminateInterrupt, number, frame)
        )
        told = harness.run(harness.load(), call())
        assert summary(told)[-2:] == ["RUNNING", "terminated"]
        assert harness.worker.module.cleaned == 1
        assert harness.worker.exit_status == 128 + signal.SIGTERM

    @in_a_child
    def test_that_swallows_the_interrupt_and_returns_is_terminated_all_the_same(self, tmp_path):
        gate = InterruptGate()
        source = (
            "import signal\n"
            "def f():\n"
            "    try:\n"
            "        signal.raise_signal(15)\n"
            "    except BaseException:\n"
            "        pass\n"
            "main = f\n"
        )
        harness = Harness(tmp_path, source, gate=gate)
        signal.signal(
            signal.SIGTERM, lambda number, frame: script_signal_handler(gate, TerminateInterrupt, number, frame)
        )
        assert summary(harness.run(harness.load(), call("f")))[-2:] == ["RUNNING", "terminated"]


class TestTheOtherMessages:
    @in_a_child
    def test_env_prepares_the_script_and_says_what_is_wrong_with_the_request(self, tmp_path):
        told = Harness(tmp_path, "").run(messages.Env({"env_id": "abc"}))
        assert summary(told) == ["PREP_ENV", "failed"]
        assert "base_dir" in told[-1].reason

    @in_a_child
    def test_user_fn_complete_of_main_finishes_and_of_another_does_not(self, tmp_path):
        harness = Harness(tmp_path, "")
        harness.worker.main_func(messages.UserFnComplete("f"))
        assert not harness.ending.is_set()
        harness.worker.main_func(messages.UserFnComplete("main"))
        assert harness.ending.is_set()
        assert summary(list(harness.events.queue)) == ["READY", "READY", "completed"]

    @in_a_child
    def test_user_fn_failed_finishes(self, tmp_path):
        harness = Harness(tmp_path, "")
        harness.worker.main_func(messages.UserFnFailed("main", ValueError("why")))
        assert harness.ending.is_set()
        assert harness.events.queue[-1].reason == "ValueError: why"

    @in_a_child
    def test_pubsub_is_published_here_and_does_not_go_out_again(self, tmp_path):
        source = (
            "from pubsub import pub\n"
            "def hear(value):\n"
            "    pub.sendMessage('answer', value=value)\n"
            "pub.subscribe(hear, 'question')\n"
            "main = hear\n"
        )
        harness = Harness(tmp_path, source)
        told = harness.run(harness.load(), messages.PubSub("question", {"value": 3}))
        sent = [item for item in told if isinstance(item, messages.PubSub)]
        assert sent == [messages.PubSub("answer", {"value": 3})]

    @in_a_child
    def test_pubsub_that_does_not_fit_is_logged_and_harms_nobody(self, tmp_path):
        harness = Harness(
            tmp_path, "from pubsub import pub\ndef hear(value): pass\npub.subscribe(hear, 'question')\nmain = hear\n"
        )
        told = harness.run(harness.load(), messages.PubSub("question", {"other": 3}), call("hear", 1))
        assert summary(told)[-2:] == ["RUNNING", "READY"]

    @in_a_child
    def test_the_first_subscription_of_a_script_is_told_once(self, tmp_path):
        source = "from pubsub import pub\ndef main(): pass\npub.subscribe(main, 'a')\npub.subscribe(main, 'b')\n"
        harness = Harness(tmp_path, source)
        assert harness.run(harness.load()).count(messages.LISTENING) == 1

    @in_a_child
    def test_a_message_of_the_script_goes_out(self, tmp_path):
        harness = Harness(tmp_path, "from pubsub import pub\ndef main(): pub.sendMessage('a.b', x=1)\n")
        told = harness.run(harness.load(), call())
        assert messages.PubSub("a.b", {"x": 1}) in told


class TestItsParts:
    def test_publish_lifecycle_tells_state_and_function(self, tmp_path):
        harness = Harness(tmp_path, "")
        harness.worker.publish_lifecycle(ProcedureState.RUNNING, "main")
        told = harness.events.get()
        assert (told.state, told.fn_name) == (ProcedureState.RUNNING, "main")

    def test_republish_puts_a_message_on_the_event_queue(self, tmp_path):
        class Topic:
            def getName(self) -> str:  # pypubsub's
                return "a.b"

        harness = Harness(tmp_path, "")
        harness.worker.republish(Topic(), x=1)
        assert harness.events.get() == messages.PubSub("a.b", {"x": 1})

    def test_the_term_handler_raises_at_once(self):
        with pytest.raises(TerminateInterrupt, match="15"):
            ScriptWorker.term_handler(TerminateInterrupt, 15, None)

    def test_the_signal_handler_of_a_script_raises_when_its_gate_is_open(self):
        gate = InterruptGate()
        script_signal_handler(gate, TerminateInterrupt, 15, None)
        with pytest.raises(TerminateInterrupt, match="15"), gate.open():
            pass

    def test_no_other_parameter_is_taken(self, tmp_path):
        with pytest.raises(TypeError, match="'colour'"):
            Harness(tmp_path, "", colour="red")
        with pytest.raises(TypeError, match="1 were given"):
            ScriptWorker("w", threading.Event(), threading.Event(), queue.Queue(), queue.Queue(), "more")

    def test_an_environment_is_kept(self, tmp_path):
        environment = object()
        assert Harness(tmp_path, "", environment=environment).worker.environment is environment


class Recorder(ProcWorker):
    """A worker that notes what it does."""

    def init_args(self, *args: Any) -> None:
        self.done: list[Any] = list(args)

    def startup(self) -> None:
        self.done.append(("startup", self.startup_event.is_set()))

    def shutdown(self) -> None:
        self.done.append("shutdown")

    def main_func(self, item: Any) -> None:
        if item == "fail":
            raise RuntimeError("fail")
        self.done.append(item)
        if item == "last":
            self.shutdown_event.set()


def recorder(*items: Any) -> Recorder:
    work: queue.Queue[Any] = queue.Queue()
    for item in items:
        work.put(item)
    return Recorder("w", threading.Event(), threading.Event(), queue.Queue(), work, "extra")


class TestTheSkeleton:
    def test_starts_up_handles_items_in_order_and_shuts_down(self):
        worker = recorder(1, 0, None, "", EndOfWork(), "not this")
        worker.run()
        assert worker.done == ["extra", ("startup", False), 1, 0, None, "", "shutdown"]
        assert worker.startup_event.is_set()

    def test_stops_when_the_shutdown_event_is_set(self):
        worker = recorder(1, "last", "not this")
        worker.run()
        assert worker.done[-2:] == ["last", "shutdown"]

    def test_shuts_down_when_an_item_fails(self):
        worker = recorder("fail")
        with pytest.raises(RuntimeError, match="fail"):
            worker.run()
        assert worker.done[-1] == "shutdown"
