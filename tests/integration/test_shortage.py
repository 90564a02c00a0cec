"""Main while the system gives it no descriptor, pipe or process: it waits, says so, and comes back by itself."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.main_process import MainProcess
from support.processes import descriptors_of, is_gone
from support.sources import NOTHING, SLEEPING
from support.waiting import wait_until

from ska_oet_device.procedure import messages

pytestmark = pytest.mark.long


@contextlib.contextmanager
def descriptors_limited(pid: int, left: int = 0) -> Iterator[int]:
    """Leave a process so many descriptors more than it has, for a while."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = set(map(int, os.listdir(f"/proc/{pid}/fd")))
    limit = min(set(range(len(taken) + 1)) - taken) + left  # those with higher numbers stay open
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield limit
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def leaves_a_trace(trace: Path) -> str:
    return f"open({str(trace)!r}, 'a').write('loaded\\n')\ndef main(): pass\n"


def traces(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def forks_on_demand(tmp_path):
    """The environment of a template whose forks the system refuses while a file is there; and that file."""
    folder, flag = tmp_path / "modules", tmp_path / "no_more_processes"
    folder.mkdir()
    (folder / "oet_refuses.py").write_text(
        "import errno, os\n"
        "from ska_oet_device.mptools import _template\n"
        "fork = _template._fork_worker\n"
        "def refused(main_pid):\n"
        f"    if os.path.exists({str(flag)!r}):\n"
        "        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))\n"
        "    return fork(main_pid)\n"
        "_template._fork_worker = refused\n"
    )
    source = str(Path(messages.__file__).parents[3])
    return {"PYTHONPATH": os.pathsep.join([source, str(folder)])}, flag


def runs_a_script(main: MainProcess, script) -> bool:
    uid = main.running(script(NOTHING))
    return main.wait_for_end(uid).reason == "completed"


class TestDescriptors:
    def test_what_has_failed_for_want_of_them_is_never_run(self, main, script, tmp_path):
        trace = tmp_path / "trace"
        path = script(leaves_a_trace(trace))
        main.wait_for_spares()
        with descriptors_limited(main.pid):
            served = [main.create(path) for _ in range(2)]  # by the spares, which may take their time
            for uid in [main.create(path, timeouts={"LoadTimeout": 3.0}) for _ in range(4)]:
                end = main.wait_for_end(uid)
                assert end.new_state.name == "FAILED"
                assert end.reason.startswith("CREATING took longer than LoadTimeout (3 s): no worker can be made: ")
                assert "Errno 24" in end.reason
            assert not main.supplying
        for uid in [*served, main.create(path)]:
            main.wait_for(uid, "READY")
        wait_until(lambda: main.problems == [], 20, "the end of the problem")
        main.wait_for_spares()
        assert traces(trace) == 3

    def test_who_waits_without_a_deadline_is_served_when_there_are_some_again(self, main, script):
        main.wait_for_spares()
        path = script(NOTHING)
        with descriptors_limited(main.pid):
            uids = [main.create(path) for _ in range(5)]
            wait_until(lambda: main.problems, 20, "a problem")
            assert [main.states(uid) for uid in uids[2:]] == [[]] * 3
        for uid in uids:
            main.wait_for(uid, "READY")

    def test_a_template_killed_meanwhile_comes_back(self, main, script):
        main.wait_for_spares()
        template = main.wait_for_template()
        with descriptors_limited(main.pid):
            os.kill(template, signal.SIGKILL)
            (problem,) = wait_until(lambda: not main.supplying and main.problems, 20, "the problem")
            assert problem.startswith("the template process cannot be started: [Errno 24]")
        main.wait_for_template(other_than=template)
        wait_until(lambda: main.problems == [], 20, "the end of the problem")
        assert runs_a_script(main, script)

    def test_a_script_that_ends_meanwhile_is_told_to_have_ended(self, main, script):
        stopped, killed = main.running(script(SLEEPING)), main.ready(script(NOTHING))
        bystander = main.ready(script(NOTHING))
        main.wait_for_spares()
        with descriptors_limited(main.pid):
            os.kill(main.wait_for(killed, "READY").os_pid, signal.SIGKILL)
            main.stop(stopped)
            assert main.wait_for_end(killed).new_state.name == "FAILED"
            assert main.wait_for_end(stopped).new_state.name == "STOPPED"
            main.run(bystander)
            assert main.wait_for_end(bystander).reason == "completed"

    def test_some_are_kept_back(self, main, script):
        main.wait_for_spares()
        path = script(NOTHING)
        with descriptors_limited(main.pid, 60) as limit:
            uids = [main.create(path) for _ in range(70)]
            (problem,) = wait_until(lambda: main.problems, 60, "the problem")
            wait_until(lambda: len([uid for uid in uids if main.states(uid)]) > 30, 60, "most of them")
            assert f"of {limit} file descriptors are in use, and the rest is kept back" in problem
            assert len(descriptors_of(main.pid)) < limit - limit // 4 + 2
            template = main.wait_for_template()
            os.kill(template, signal.SIGKILL)
            main.wait_for_template(other_than=template)  # of those that were kept back
            for uid in uids:
                main.wait_for(uid, "READY", 60)
                main.stop(uid)
        assert len(main.told.supply) < 20  # how things stand is not told with each worker


class TestProcesses:
    def test_what_was_cancelled_while_none_could_be_made_is_never_run(
        self, new_main, script, forks_on_demand, tmp_path
    ):
        env, flag = forks_on_demand
        main = new_main(env=env)
        main.configure(0, "oet_refuses")
        wait_until(lambda: main.template and not main.spares(), 20, "a template without spares")
        assert runs_a_script(main, script)
        trace = tmp_path / "trace"
        path = script(leaves_a_trace(trace))
        flag.touch()
        late, stopped, served = main.create(path, timeouts={"LoadTimeout": 3.0}), main.create(path), main.create(path)
        reason = main.wait_for_end(late).reason
        assert reason.endswith("no worker can be forked: [Errno 11] Resource temporarily unavailable")
        main.stop(stopped)
        assert main.wait_for_end(stopped).new_state.name == "STOPPED"
        flag.unlink()
        main.wait_for(served, "READY")
        wait_until(lambda: main.problems == [], 20, "the end of the problem")
        main.run(served)
        main.wait_for_end(served)
        assert traces(trace) == 1

    def test_a_template_that_may_open_nothing_more_answers_when_it_may(self, main, script):
        main.wait_for_spares()
        template = main.wait_for_template()
        path = script(NOTHING)
        with descriptors_limited(template):
            uids = [main.create(path) for _ in range(5)]
            for uid in uids[:2]:
                main.wait_for(uid, "READY")
            assert not is_gone(template)
        for uid in uids:
            main.wait_for(uid, "READY")
        assert main.template == template
