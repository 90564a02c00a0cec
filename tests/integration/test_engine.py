"""The engine without Tango: the specification's service, in a program that is no device server."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.processes import (
    descendants_of,
    descriptors_of,
    engine_mains,
    is_gone,
    procedures_of,
    states_of_threads,
    suspend,
)
from support.sources import DEAF, NOTHING, SLEEPING
from support.waiting import wait_until

from ska_oet_device.config import Settings
from ska_oet_device.engine import EngineError, start_engine
from ska_oet_device.errors import NotConnectedError
from ska_oet_device.event import topics
from ska_oet_device.files import remove_tree
from ska_oet_device.procedure.application import (
    CheckCommand,
    PrepareProcessCommand,
    ProcedureSummary,
    ScriptExecutionService,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oet_device.procedure.domain import FileSystemScript, ProcedureInput, ProcedureState, ProcessManager
from ska_oet_device.procedure.messages import LifecycleMessage
from ska_oet_device.procedure.output import OutputError
from ska_oet_device.procedure.ownership import StateHeldError
from ska_oet_device.procedure.supervision import UnheardFile

# Runs with the arguments for Python that it is given, `-m` and a name, and waits longer for its caller.
PATIENT_MAIN = """
import sys
import ska_oet_device._engine_main as engine_main
engine_main._SHUTDOWN_PATIENCE = 60.0
sys.exit(engine_main.main(sys.argv[3:]))
"""


@pytest.fixture
def settings(tmp_path):
    """Return how to make settings that allow the scripts of this test."""

    def make(**values) -> Settings:
        return Settings(script_roots=(str(tmp_path),), **{"stop_grace_period": 5.0, **values})

    return make


def prepare(service: ScriptExecutionService, path: Path, *args) -> int:
    return service.prepare(PrepareProcessCommand(FileSystemScript(f"file://{path}"), ProcedureInput(*args))).id


def run(service: ScriptExecutionService, path: Path) -> int:
    """Have `main` of a script called as soon as it is READY."""
    uid = prepare(service, path)
    service.start(StartProcessCommand(uid, "main", ProcedureInput(), force_start=True))
    return uid


def wait_for(service: ScriptExecutionService, uid: int, *states: str) -> ProcedureSummary:
    def found() -> ProcedureSummary | None:
        (summary,) = service.summarise([uid])
        return summary if summary.state.name in states else None

    return wait_until(found, 20, f"procedure {uid} is {states}")


def entered(summary: ProcedureSummary) -> list[str]:
    return [state.name for state, _ in summary.history.process_states]


def create(manager: ProcessManager, path: Path) -> int:
    return manager.create(FileSystemScript(f"file://{path}"), init_args=ProcedureInput())


@contextlib.contextmanager
def leaving_nothing() -> Iterator[list[int]]:
    """Check that every process that is seen inside is gone after it; returns the list to which they are added."""
    seen: list[int] = []
    yield seen
    wait_until(lambda: all(map(is_gone, seen)), 20, "the end of every process")


@dataclass(frozen=True)
class Held:
    """The descriptors and threads of this process; what a former test has made, a library may give back meanwhile."""

    descriptors: Counter[str]
    threads: frozenset[threading.Thread]

    @classmethod
    def now(cls) -> Held:
        threads = (thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread))
        return cls(Counter(descriptors_of(os.getpid())), frozenset(threads))

    def beside(self, other: Held) -> list[object]:
        return [*(self.descriptors - other.descriptors), *(self.threads - other.threads)]


class TestTheService:
    def test_takes_a_script_to_its_end(self, settings, script):
        with start_engine(settings()) as service:
            uid = prepare(
                service, script("def init(a):\n    global kept\n    kept = a\ndef main(): assert kept == 1\n"), 1
            )
            assert entered(wait_for(service, uid, "READY"))[-2:] == ["INITIALISING", "READY"]
            service.start(StartProcessCommand(uid, "main", ProcedureInput()))
            end = wait_for(service, uid, "COMPLETE")
        assert entered(end) == [
            "CREATING",
            "IDLE",
            "LOADING",
            "IDLE",
            "INITIALISING",
            "READY",
            "RUNNING",
            "READY",
            "COMPLETE",
        ]
        assert end.history.exit["reason"] == "completed"
        assert end.uri == f"engine#{uid}"

    def test_stops_one_and_runs_the_abort_script(self, settings, script, tmp_path):
        mark = tmp_path / "aborted"
        abort = script(f"def init(subarray_id):\n    open({str(mark)!r}, 'w').close()\ndef main(): pass\n", "abort.py")
        with start_engine(settings(), abort_script=FileSystemScript(f"file://{abort}")) as service:
            uid = run(service, script(SLEEPING))
            wait_for(service, uid, "RUNNING")
            (aborting,) = service.stop(StopProcessCommand(uid, run_abort=True))
            wait_for(service, aborting.id, "COMPLETE")
            assert wait_for(service, uid, "STOPPED").history.exit["signals_sent"] == ["SIGTERM"]
        assert mark.exists()

    def test_takes_the_abort_script_from_the_settings_where_none_is_given(self, settings):
        with start_engine(settings(abort_script="file://abort.py")) as service:
            assert service.abort_script == FileSystemScript("file://abort.py")

    def test_checks_a_script(self, settings, script):
        done = threading.Event()

        def listener(report):
            done.set()

        with start_engine(settings()) as service:
            service.bus.subscribe(listener, topics.procedure.check.reported)
            check_id = service.check(CheckCommand(FileSystemScript(f"file://{script(NOTHING)}"), ProcedureInput()))
            assert done.wait(30)
            report = service.check_report(check_id)
        assert report is not None
        assert report.ok, report
        assert "main" in report.functions

    def test_publishes_what_happens_on_its_bus(self, settings, script):
        told: list[str] = []

        def listener(msg_src, change):
            told.append(change.event.state.name)

        with start_engine(settings()) as service:
            service.bus.subscribe(listener, topics.procedure.lifecycle.recorded)
            wait_for(service, run(service, script(NOTHING)), "COMPLETE")
        assert told == ["CREATING", "IDLE", "LOADING", "IDLE", "READY", "RUNNING", "READY", "COMPLETE"]

    def test_has_spares_and_preload_as_the_settings_say(self, settings, script):
        with start_engine(settings(spare_workers=0, preload=("colorsys",))) as service:
            path = script("import sys\nassert 'colorsys' in sys.modules\ndef main(): pass\n")
            wait_for(service, run(service, path), "COMPLETE")

    def test_knows_no_tango(self, settings, script):
        """Neither in the caller, which a program of its own shows, nor in any process of the engine."""
        with start_engine(settings()) as service:
            uid = prepare(service, script(NOTHING))
            wait_for(service, uid, "READY")
            (main,) = engine_mains()
            processes = [main, *descendants_of(main)]
            assert len(processes) >= 3
            assert not any("/_tango." in Path(f"/proc/{pid}/maps").read_text() for pid in processes)
        program = "import sys, ska_oet_device.engine; print([name in sys.modules for name in ('tango', 'pydantic')])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout == "[False, False]\n"


class TestTheProcessManager:
    def test_creates_runs_and_stops_real_processes(self, settings, script):
        with start_engine(settings()) as service:
            manager = ProcessManager(bus=service.bus, next_id=service.history.next_id, settings=service.settings)
            running, other = (create(manager, script(SLEEPING)) for _ in range(2))
            wait_until(lambda: {manager.get_state(each) for each in (running, other)} == {ProcedureState.READY})
            assert not manager.has_running()
            manager.run(running, call="main", run_args=ProcedureInput())
            wait_until(manager.has_running)
            manager.stop(running)
            wait_until(lambda: manager.get_state(running) is ProcedureState.STOPPED)
            assert not manager.has_running()
            (main,) = engine_mains()
            assert procedures_of(main) == [f"engine#{other}"]
        assert manager.get_state(other) is ProcedureState.STOPPED

    def test_that_nobody_carries_messages_for_says_so(self, settings, script):
        path = script(NOTHING)
        with start_engine(settings()) as service:
            manager = ProcessManager(bus=service.bus)
        with pytest.raises(NotConnectedError, match="nobody carries messages"):
            create(manager, path)
        with pytest.raises(NotConnectedError, match="nobody carries messages"):
            prepare(service, path)


class TestTheDocumentation:
    def test_shows_what_its_program_prints(self):
        text = (Path(__file__).parents[2] / "docs" / "how-to" / "use-the-engine.md").read_text()
        program, output = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1] for kind in ("python", "text"))
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
        # The script prints, and so does the program, which may be later with RUNNING.
        printed = "Hello reader, from subarray 2\n"
        assert done.stdout.replace(printed, "") == output.replace(printed, "")
        for text in (done.stdout, output):
            running = text.index("procedure 1 is RUNNING")
            assert text.count(printed) == 1
            assert text.index(printed) < text.index("procedure 1 is READY", running)


class TestLeavingTheBlock:
    def test_stops_the_scripts_with_grace_and_leaves_nothing(self, settings, script, tmp_path):
        tidied = tmp_path / "tidied"
        path = script(f"""
            import subprocess, time
            from pathlib import Path
            from pubsub import pub
            def main():
                subprocess.Popen(["sleep", "600"], start_new_session=True)
                try:
                    pub.sendMessage("armed")
                    time.sleep(600)
                finally:
                    time.sleep(0.3)
                    Path({str(tidied)!r}).touch()
        """)
        with leaving_nothing() as seen:
            with start_engine(settings()) as service:
                running, ready = armed(service, path), prepare(service, script(NOTHING))
                wait_for(service, ready, "READY")
                (main,) = engine_mains()
                wait_until(lambda: any("sleep" in name for name in map(_name, descendants_of(main))), 10, "a child")
                seen += [main, *descendants_of(main)]
            assert engine_mains() == []
        assert tidied.exists()
        ended = {summary.id: summary for summary in service.summarise()}
        assert {summary.state for summary in ended.values()} == {ProcedureState.STOPPED}
        assert len(ended[running].history.exit["reaped"]) == 1

    def test_kills_a_script_that_does_not_end(self, settings, script):
        with start_engine(settings(stop_grace_period=0.3)) as service:
            uid = armed(service, script(DEAF))
        (end,) = service.summarise([uid])
        assert end.history.exit["signals_sent"] == ["SIGTERM", "SIGKILL"]

    def test_after_an_error_does_the_same(self, settings, script):
        kept: list[ScriptExecutionService] = []

        def fail() -> None:
            with start_engine(settings()) as service:
                kept.append(service)
                wait_for(service, run(service, script(SLEEPING)), "RUNNING")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert [summary.state for summary in kept[0].summarise()] == [ProcedureState.STOPPED]
        assert engine_mains() == []

    def test_does_not_wait_for_a_process_that_was_forked_meanwhile(self, settings, tmp_path, monkeypatch):
        monkeypatch.setattr("ska_oet_device.engine._PATIENCE", 60.0)
        monkeypatch.setattr("ska_oet_device.engine.own_python", lambda: [sys.executable, "-c", PATIENT_MAIN])
        durable = settings(state_directory=str(tmp_path / "state"))
        with start_engine(durable):
            forked = os.fork()
            if forked == 0:
                time.sleep(60)
                os._exit(0)
            left = time.monotonic()
        try:
            assert engine_mains() == []
            with start_engine(durable):  # nor does the state belong to that process
                assert time.monotonic() - left < 40  # waiting for it takes 60 s, main or the engine
        finally:
            os.kill(forked, signal.SIGKILL)
            os.waitpid(forked, 0)

    @pytest.mark.long
    @pytest.mark.timeout(300)
    def test_gives_everything_back_a_hundred_times(self, settings, script):
        path = script(NOTHING)

        def once(**values) -> None:
            with start_engine(settings(**values)) as service:
                wait_for(service, run(service, path), "COMPLETE")

        once()
        before = Held.now()
        for _ in range(100):
            with start_engine(settings()):
                pass
        once()
        assert Held.now().beside(before) == []
        assert engine_mains() == []

    def test_gives_everything_back_where_the_history_is_durable(self, settings, script, tmp_path):
        path = script(NOTHING)

        def once() -> None:
            with start_engine(settings(state_directory=str(tmp_path / "state"))) as service:
                wait_for(service, run(service, path), "COMPLETE")

        once()
        before = Held.now()
        for _ in range(10):
            once()
        wait_until(lambda: Held.now().beside(before) == [], 20, "all is given back")


class TestTheHistory:
    def test_is_in_memory_where_nothing_else_is_said_and_nothing_is_written(
        self, settings, script, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        path = script(NOTHING)
        with start_engine(settings()) as service:
            wait_for(service, run(service, path), "COMPLETE")
            time.sleep(1.2)  # the engine looks after itself once a second
        assert sorted(tmp_path.iterdir()) == [path]

    def test_lasts_to_the_next_engine_where_there_is_a_folder(self, settings, script, tmp_path):
        durable = settings(state_directory=str(tmp_path / "state"))
        with start_engine(durable, device="mid-oet/subarray/01") as service:
            first, stopped = (
                run(service, script("def main():\n    print('hello')\n")),
                prepare(service, script(NOTHING)),
            )
            wait_for(service, first, "COMPLETE")
            wait_for(service, stopped, "READY")
            told = service.lifecycle_events(0)
        with start_engine(durable, device="mid-oet/subarray/01") as service:
            assert {summary.id: summary.state.name for summary in service.summarise()} == {1: "COMPLETE", 2: "STOPPED"}
            events = service.lifecycle_events(0)
            assert events[: len(told)] == told
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert service.read_output(first, 0, 1000).text == "hello\n"
            assert prepare(service, script(NOTHING)) == 3
            # The newest may have to be written yet.
            asked = ["Prepare", "Prepare", "Start", "Prepare"]
            wait_until(lambda: [request.command for request in service.requests(0, 10)] == asked, 20, "all is kept")

    def test_keeps_the_output_within_its_limit(self, settings, script, tmp_path):
        flood = script("import os\ndef main():\n    for _ in range(64): os.write(1, b'x' * 65536)\n")
        with start_engine(settings(state_directory=str(tmp_path / "state"), max_output=1024**2)) as service:
            uid = run(service, flood)
            wait_for(service, uid, "COMPLETE")
        (kept,) = (tmp_path / "state").rglob(f"{uid}.log")
        assert kept.stat().st_size == 64 * 65536
        assert kept.stat().st_blocks * 512 <= 1024**2 + 8192

    def test_does_not_wait_for_a_fifo_in_the_place_of_its_output(self, settings, script, tmp_path):
        state = tmp_path / "state"
        replacing = script(
            "import glob, os, time\ndef main():\n    print('hello')\n"
            f"    while not (found := glob.glob({str(state)!r} + '/**/1.log', recursive=True)): time.sleep(0.01)\n"
            "    own = found[0]\n    os.unlink(own)\n    os.mkfifo(own)\n"
            "    os.mkfifo(os.path.join(os.path.dirname(own), '2.log'))\n"
        )
        with start_engine(settings(state_directory=str(state))) as service:
            wait_for(service, run(service, replacing), "COMPLETE")
            wait_for(service, run(service, replacing), "COMPLETE", "FAILED")
            for uid in (1, 2):
                with pytest.raises(OutputError, match=f"output file of procedure {uid} is no regular file any more"):
                    service.read_output(uid, 0, 100)
        with start_engine(settings(state_directory=str(state))) as service:
            assert prepare(service, replacing) == 3

    @pytest.mark.long
    def test_does_not_follow_a_link_in_the_place_of_the_folder_of_its_output(self, settings, script, tmp_path):
        state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
        elsewhere.mkdir()
        printing = script("def main(): print('hello')\n")
        with start_engine(settings(state_directory=str(state))) as service:
            wait_for(service, run(service, printing), "COMPLETE")
            folder = next(state.rglob("1.log")).parent
            # The engine may make the folder anew before the link is there.
            replacing = script(f"""
                import itertools, os
                def main():
                    for number in itertools.count():
                        os.rename({str(folder)!r}, {str(folder)!r} + str(number))
                        try:
                            os.symlink({str(elsewhere)!r}, {str(folder)!r})
                        except FileExistsError:
                            continue
                        return
            """)
            wait_for(service, run(service, replacing), "COMPLETE")
            wait_for(service, run(service, printing), "COMPLETE")
            wait_until(lambda: folder.is_dir() and not folder.is_symlink(), 20, "it is made anew")
            last = run(service, printing)
            wait_for(service, last, "COMPLETE")
            assert "hello" in service.read_output(last, 0, 100).text
        assert list(elsewhere.iterdir()) == []

    @pytest.mark.long
    @pytest.mark.parametrize("what", ["history.sqlite3", "."])
    def test_that_is_removed_while_it_is_in_use_is_written_again(self, settings, script, tmp_path, what):
        state = tmp_path / "state"
        durable = settings(state_directory=str(state))
        with start_engine(durable) as service:
            uids = []
            for _ in range(3):
                uids.append(run(service, script(NOTHING)))
                wait_for(service, uids[-1], "COMPLETE")
            remove_tree(state / what)  # once more where the engine writes to it meanwhile
            wait_until(lambda: "nothing is lost" in service.history.problem, 10, "it is noticed")
            uids.append(run(service, script(NOTHING)))
            wait_for(service, uids[-1], "COMPLETE")
            # A summary may show a change whose event is still on its way.
            end = uids[-1], ProcedureState.COMPLETE
            wait_until(lambda: _newest_event(service) == end, 20, "the last event")
            before = [event.sequence for event in service.lifecycle_events(0)]
            with pytest.raises(StateHeldError), start_engine(durable):
                pass
        with start_engine(durable) as service:
            assert [entered(summary)[-1] for summary in service.summarise(uids)] == ["COMPLETE"] * 4
            assert [event.sequence for event in service.lifecycle_events(0)] == before
            assert prepare(service, script(NOTHING)) == max(uids) + 1
            modes = {oct(stat.S_IMODE(path.stat().st_mode) & 0o077) for path in state.rglob("*")}
            assert modes == {"0o0"}, "all of it is for our user alone"

    def test_belongs_to_one_engine_at_a_time(self, settings, tmp_path):
        durable = settings(state_directory=str(tmp_path / "state"))
        with start_engine(durable) as service:
            refusal = r"the state in .* belongs to main process \d+ on host .*, which is running"
            with pytest.raises(StateHeldError, match=refusal), start_engine(durable):
                pass
            assert len(engine_mains()) == 1
            assert service.summarise() == []
        with start_engine(durable):
            pass

    def test_tells_what_became_of_the_scripts_of_a_caller_that_was_killed(self, settings, script, tmp_path):
        durable = settings(state_directory=str(tmp_path / "state"))
        caller = Caller(script(SLEEPING), durable)
        caller.kill()
        wait_until(lambda: all(map(is_gone, caller.seen)), 10, "the end of every process")
        with start_engine(durable) as service:
            (end,) = service.summarise([caller.uid])
            assert end.state is ProcedureState.STOPPED
            assert end.history.exit["reason"] == "the server was shut down"
        assert not list((tmp_path / "state").rglob("unheard.json"))  # it has been heard


class Caller:
    """Another program with an engine, in which a script is RUNNING."""

    def __init__(self, path: Path, settings: Settings, **options) -> None:
        program = f"""
import signal, time
from ska_oet_device.config import Settings
from ska_oet_device.engine import start_engine
from ska_oet_device.procedure.application import PrepareProcessCommand, StartProcessCommand
from ska_oet_device.procedure.domain import FileSystemScript, ProcedureInput
signal.signal(signal.SIGINT, signal.default_int_handler)
with start_engine({settings!r}) as service:
    uid = service.prepare(PrepareProcessCommand(FileSystemScript("file://{path}"), ProcedureInput())).id
    service.start(StartProcessCommand(uid, "main", ProcedureInput(), force_start=True))
    # Behind the commit, for this program may be killed next.
    while (uid, "RUNNING") not in [(event.process_uid, event.state.name) for event in service.lifecycle_events(0)]:
        time.sleep(0.01)
    try:
        print(uid, flush=True)
        while True:  # a signal that comes just before one long sleep would be overlooked
            time.sleep(0.02)
    except KeyboardInterrupt:
        time.sleep(0.5)
        print(service.summarise([uid])[0].state.name, flush=True)
print(service.summarise([uid])[0].state.name, flush=True)
"""
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True, **options
        )
        assert self.process.stdout is not None
        self.uid = int(self.process.stdout.readline())
        self.seen = descendants_of(self.process.pid)
        assert len(self.seen) >= 3  # main, the template, the script

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class TestTheCaller:
    def test_that_is_killed_leaves_nothing_behind(self, settings, script):
        path = script("""
            import subprocess, time
            def main():
                subprocess.Popen(["sleep", "600"], start_new_session=True)
                time.sleep(600)
        """)
        caller = Caller(path, settings())
        (main,) = engine_mains(caller.process.pid)
        wait_until(lambda: any("sleep" in name for name in map(_name, descendants_of(main))), 10, "a child")
        seen = descendants_of(caller.process.pid)
        caller.kill()
        wait_until(lambda: all(map(is_gone, seen)), 20, "the end of every process")

    def test_that_is_killed_while_a_copy_of_it_lives_leaves_no_engine_behind(self):
        program = """
import os, time
from ska_oet_device.engine import start_engine
with start_engine():
    if os.fork() == 0:
        time.sleep(600)
    print("forked", flush=True)
    time.sleep(600)
"""
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as caller:
            assert caller.stdout.readline() == "forked\n"
            (main,) = engine_mains(caller.pid)
            (copy,) = [pid for pid in descendants_of(caller.pid) if pid not in (main, *descendants_of(main))]
            caller.kill()
            wait_until(lambda: is_gone(main), 20, "the end of main")
            os.kill(copy, signal.SIGKILL)

    def test_has_what_scripts_print_while_they_run(self, settings, script, tmp_path):
        path = script(f"""
            import os, time
            def main():
                while not os.path.exists({str(tmp_path / "go")!r}):
                    time.sleep(0.01)
                print("a line")
                print("a part", end="")
                time.sleep(600)
        """)
        caller = Caller(path, settings())
        try:
            (tmp_path / "go").touch()
            assert os.read(caller.process.stdout.fileno(), 7) == b"a line\n"
            assert os.read(caller.process.stdout.fileno(), 6) == b"a part"
        finally:
            caller.kill()

    def test_that_is_interrupted_still_has_its_scripts_until_it_leaves(self, settings, script):
        caller = Caller(script(SLEEPING), settings())
        os.killpg(caller.process.pid, signal.SIGINT)  # as Ctrl-C does: to all of the foreground group
        out, _ = caller.process.communicate(timeout=20)
        assert out.split() == ["RUNNING", "STOPPED"]
        assert all(map(is_gone, caller.seen))

    def test_that_does_not_run_does_not_stop_main(self, settings, script, tmp_path):
        path = script(f"""
            import time
            from pathlib import Path
            def main():
                while True:
                    Path({str(tmp_path / "alive")!r}).write_text(str(time.time()))
                    time.sleep(0.05)
        """)
        caller = Caller(path, settings())
        wait_until((tmp_path / "alive").exists, 20, "the script to write")
        suspend(caller.process.pid)
        time.sleep(1.0)
        before = (tmp_path / "alive").read_text()
        wait_until(lambda: (tmp_path / "alive").read_text() not in ("", before), 20, "the script to go on")
        caller.process.send_signal(signal.SIGCONT)
        # The kernel gives a signal to a thread that has gone on, and wakes the others for none.
        wait_until(lambda: states_of_threads(caller.process.pid) == {"S"}, 20, "all threads to have gone on")
        caller.process.send_signal(signal.SIGINT)
        assert caller.process.communicate(timeout=20)[0].split() == ["RUNNING", "STOPPED"]


class TestMain:
    def test_two_live_side_by_side_in_one_process(self, settings, script, tmp_path):
        durable = settings(state_directory=str(tmp_path / "state"))
        path = script(SLEEPING)
        with start_engine(durable, device="one") as one, start_engine(durable, device="two") as two:
            assert len(engine_mains()) == 2
            uids = run(one, path), run(two, path)
            assert uids == (1, 1)
            for service in (one, two):
                wait_for(service, 1, "RUNNING")
            one.stop(StopProcessCommand(1, run_abort=False))
            wait_for(one, 1, "STOPPED")
            assert two.summarise([1])[0].state is ProcedureState.RUNNING

    def test_that_is_killed_is_told_and_its_scripts_have_failed(self, settings, script):
        lost: list[str] = []

        def listener(reason):
            lost.append(reason)

        with leaving_nothing() as seen, start_engine(settings()) as service:
            service.bus.subscribe(listener, topics.supervisor.lost)
            uid = run(service, script(SLEEPING))
            wait_for(service, uid, "RUNNING")
            (main,) = engine_mains()
            seen += [main, *descendants_of(main)]
            os.kill(main, signal.SIGKILL)
            end = wait_for(service, uid, "FAILED")
            assert end.history.exit["reason"].startswith("main ended while the procedure was RUNNING; ")
            assert lost == ["the main process is gone: the other side closed the pipe"]
            with pytest.raises(NotConnectedError):
                prepare(service, script(NOTHING))

    def test_that_hangs_is_killed_when_the_block_is_left(self, settings, script, monkeypatch):
        monkeypatch.setattr("ska_oet_device.engine._SCRIPTS_PATIENCE", 0.5)
        monkeypatch.setattr("ska_oet_device.engine._PATIENCE", 2.0)
        with leaving_nothing() as seen, start_engine(settings(stop_grace_period=0.1)) as service:
            uid = run(service, script(SLEEPING))
            wait_for(service, uid, "RUNNING")
            (main,) = engine_mains()
            seen += [main, *descendants_of(main)]
            suspend(main)
        assert service.summarise([uid])[0].state is ProcedureState.FAILED

    def test_that_is_spoken_with_by_nobody_leaves_alone_what_an_earlier_one_left(self, tmp_path):
        """An engine that is refused does not own the file: another one may be at work on it."""
        file = tmp_path / "unheard.json"
        UnheardFile(file).write(
            [LifecycleMessage(3, ProcedureState.STOPPED, "engine", 1.5, "the server was shut down")]
        )
        before = file.stat()
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [str(theirs.fileno()), str(os.getpid()), str(file), "-v1"]
            process = subprocess.Popen(
                [sys.executable, "-m", "ska_oet_device._engine_main", *arguments],
                pass_fds=[theirs.fileno()],
                stdout=subprocess.PIPE,
                text=True,
            )
        with ours:
            assert ours.recv(1) != b""  # it has read the file, and greets
        printed, _ = process.communicate(timeout=20)
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert "nobody has recorded" not in printed

    def test_that_is_told_to_end_ends_the_scripts_with_grace(self, settings, script):
        with start_engine(settings()) as service:
            uid = run(service, script(SLEEPING))
            wait_for(service, uid, "RUNNING")
            (main,) = engine_mains()
            os.kill(main, signal.SIGTERM)
            assert wait_for(service, uid, "STOPPED").history.exit["reason"] == "the server was shut down"

    def test_that_cannot_be_started_is_an_error(self, settings, monkeypatch):
        monkeypatch.setattr("ska_oet_device.engine.own_python", lambda: ["/bin/false"])
        before = Held.now()
        with (
            pytest.raises(EngineError, match="the engine's main process cannot be started: "),
            start_engine(settings()),
        ):
            pass
        assert Held.now().beside(before) == []


def armed(service: ScriptExecutionService, path: Path) -> int:
    """Have `main` of a script called, and wait until the script says that it is where the test wants it."""
    said: list[int] = []

    def listener(msg_src, topic, data, time, payload=b""):
        if topic == "armed":
            said.append(msg_src)

    service.bus.subscribe(listener, topics.script.message)  # before it can say so
    uid = run(service, path)
    wait_until(lambda: uid in said, 20, f"procedure {uid} says that it is armed")
    return uid


def _newest_event(service: ScriptExecutionService) -> tuple[int, ProcedureState]:
    event = service.lifecycle_events(0)[-1]
    return event.process_uid, event.state


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""
