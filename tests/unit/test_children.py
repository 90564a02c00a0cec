"""Child processes: how each one ended, and what can be known of others."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from support.forked import in_a_child
from support.waiting import wait_until

from ska_oet_device.mptools import (
    Children,
    ExitStatus,
    Signalled,
    become_subreaper,
    kill_group,
    send_signal,
    spawn,
    stat_of,
    take_variable,
    title_of,
    variable_of,
)
from ska_oet_device.mptools import _process as process


@pytest.mark.parametrize(
    ("status", "expected", "text"),
    [
        (0, ExitStatus(0, None), "exit code 0"),
        (3 << 8, ExitStatus(3, None), "exit code 3"),
        (9, ExitStatus(None, 9), "signal 9 (SIGKILL)"),
        (11 | 0x80, ExitStatus(None, 11), "signal 11 (SIGSEGV)"),
        (42, ExitStatus(None, 42), "signal 42"),
    ],
)
def test_an_exit_status_says_how_a_process_ended(status, expected, text):
    assert ExitStatus.from_wait_status(status) == expected
    assert str(expected) == text


def test_a_variable_that_is_taken_is_inherited_by_nobody_and_seen_nowhere():
    code = (
        "import os; from ska_oet_device.mptools import take_variable; from pathlib import Path; "
        "print(take_variable('A_SECRET'), take_variable('A_SECRET') == '', "
        "os.popen('echo $A_SECRET.$NOT_A_SECRET').read().strip(), "
        "Path('/proc/self/environ').read_bytes().strip(b'\\0').count(b'sesame'), os.environ['NOT_A_SECRET'])"
    )
    environment = {"NOT_A_SECRET": "A_SECRET=open", "A_SECRET": "sesame", "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sesame", "True", ".A_SECRET=open", "0", "A_SECRET=open"]


@in_a_child
def test_a_variable_that_is_not_there_is_empty_and_changes_nothing():
    before = dict(os.environ)
    assert take_variable("SKA_OET_NOT_THERE") == ""
    assert dict(os.environ) == before


def child_that(action) -> int:
    pid = os.fork()
    if pid == 0:
        action()
        os._exit(0)
    return pid


class TestChildren:
    @in_a_child
    def test_tell_the_watcher_how_each_one_ended(self):
        children, ended = Children(), {}
        for code in (0, 1, 77):
            pid = child_that(lambda code=code: os._exit(code))
            children.watch(pid, lambda status, code=code: ended.update({code: status}))
        wait_until(lambda: (children.reap(), len(ended) == 3)[1])
        assert ended == {code: ExitStatus(code, None) for code in (0, 1, 77)}

    @in_a_child
    def test_reaped_before_it_was_watched_is_told_at_once(self):
        children, ended, orphans = Children(), [], []
        children.on_orphan_reaped = orphans.append
        pid = child_that(lambda: os._exit(5))
        wait_until(lambda: (children.reap(), orphans)[1])
        children.watch(pid, ended.append)
        assert ended == [ExitStatus(5, None)]
        assert orphans == [pid]

    @in_a_child
    def test_the_end_of_an_earlier_process_is_not_taken_for_that_of_one_with_the_same_id(self, monkeypatch):
        children, ended = Children(), []
        pid = child_that(lambda: time.sleep(60))
        reports = [(pid, 0), (0, 0)]
        monkeypatch.setattr(os, "waitpid", lambda *_: reports.pop(0))  # an orphan of that id ended long ago
        children.reap()
        monkeypatch.undo()
        children.watch(pid, ended.append)
        assert ended == []
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: (children.reap(), ended)[1])
        assert ended == [ExitStatus(None, signal.SIGKILL)]

    @in_a_child
    def test_are_sent_no_signal_once_they_are_reaped(self):
        children, ended = Children(), []
        pid = child_that(lambda: time.sleep(60))
        children.watch(pid, lambda status: ended.append((status, children.signal(pid, signal.SIGTERM))))
        assert children.signal(pid, signal.SIGKILL) is Signalled.SENT
        wait_until(lambda: (children.reap(), ended)[1])
        assert ended == [(ExitStatus(None, signal.SIGKILL), Signalled.GONE)]

    @in_a_child
    def test_that_nobody_watches_are_sent_no_signal(self):
        """They may have been reaped before they were known, and another process may have their id."""
        pid = child_that(lambda: time.sleep(60))
        assert Children().signal(pid, signal.SIGKILL) is Signalled.GONE
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)

    @in_a_child
    def test_one_may_be_reaped_alone(self):
        children, ended = Children(), []
        pids = [child_that(lambda: None) for _ in range(2)]
        for pid in pids:
            children.watch(pid, lambda status, pid=pid: ended.append(pid))
            wait_until(lambda pid=pid: children.has_ended(pid))
        wait_until(lambda: not children.reap(pids[1]))
        assert ended == [pids[1]]
        wait_until(lambda: not children.reap())
        assert ended == [pids[1], pids[0]]

    @in_a_child
    def test_reaping_without_children_does_nothing(self):
        Children().reap()

    @in_a_child
    def test_left_behind_are_those_of_sessions_that_nobody_leads_who_is_watched(self):
        """Neither what belongs to a process of ours, nor what stems from whoever has started us."""
        become_subreaper()
        children = Children()
        ours, stray, in_our_session = spawn_sleep(), spawn_sleep(), child_that(lambda: time.sleep(60))
        children.watch(ours, lambda status: None)
        reader, writer = os.pipe()
        leader = child_that(lambda: lead_and_leave_one(writer))
        children.watch(leader, lambda status: None)
        orphan = int(os.read(reader, 20))
        wait_until(lambda: stat_of(orphan).parent == os.getpid())
        assert sorted(children.present()) == sorted([ours, stray, in_our_session, leader, orphan])
        assert sorted(process._children_from_stat()) == sorted(children.present())
        assert [pid for pid, _ in children.left_behind()[0]] == [stray]
        os.kill(leader, signal.SIGKILL)
        wait_until(lambda: children.has_ended(leader))
        assert [pid for pid, _ in children.left_behind()[0]] == [stray], "its end is not known yet"
        wait_until(lambda: not children.reap())
        assert [pid for pid, _ in children.left_behind()[0]] == [stray, orphan]
        wait_until(lambda: not children.end_all())
        assert children.present() == [in_our_session]
        os.kill(in_our_session, signal.SIGKILL)
        os.waitpid(in_our_session, 0)

    @in_a_child
    def test_one_whose_birth_can_be_read_is_not_left_behind(self):
        children = Children()
        pid = spawn_sleep()

        def read():
            children.forget_birth(read)
            children.watch(pid, lambda status: None)

        children.expect_birth(read)
        assert list(children.left_behind()[0]) == []
        wait_until(lambda: not children.end_all())

    @in_a_child
    def test_the_end_of_one_whose_birth_can_be_read_is_told_however_many_orphans_end(self, monkeypatch):
        monkeypatch.setattr(process, "_UNCLAIMED_KEPT", 2)
        children, ended = Children(), []
        pids = [child_that(lambda: os._exit(7)) for _ in range(4)]
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        def read():
            children.forget_birth(read)
            children.watch(pids[0], ended.append)

        children.expect_birth(read)
        wait_until(lambda: not children.reap(pids[0]))
        wait_until(lambda: not children.reap())
        assert ended == [ExitStatus(7, None)]

    @in_a_child
    def test_those_left_behind_are_not_all_known_where_no_file_can_be_opened(self):
        children, pid = Children(), spawn_sleep()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        found, is_all = children.left_behind()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert (list(found), is_all) == ([], False)
        assert [each for each, _ in children.left_behind()[0]] == [pid]
        wait_until(lambda: not children.end_all())


def spawn_sleep() -> int:
    """Start a process with a session of its own."""
    return spawn(["/bin/sleep", "60"], dict(os.environ), {})


def lead_and_leave_one(writer: int) -> None:
    """Lead a session, leave an orphan in it, and tell its id."""
    os.setsid()
    if os.fork() == 0:
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
        os.write(writer, b"%d" % pid)
        os._exit(0)
    os.wait()
    time.sleep(60)


class TestLookingAtAProcess:
    def test_its_state_parent_and_session_are_read_whatever_its_name(self, tmp_path):
        program = tmp_path / "a ) b (c"
        program.symlink_to(sys.executable)
        pid = spawn([str(program), "-c", "import sys; sys.stdin.read()"], dict(os.environ), {})
        try:
            stat = wait_until(lambda: stat_of(pid))
            assert stat.parent == os.getpid()
            assert stat.session == stat.group == pid
            assert stat.start > 0
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert stat_of(pid) is None
        assert title_of(pid) == ""

    def test_its_title_and_its_variables_are_read(self):
        code = "import time; time.sleep(60)"
        variables = {**os.environ, "MARK": "of=mine", "NO_MARK": "", "OTHER": "MARK=x"}
        pid = spawn([sys.executable, "-c", code, "in the", "title"], variables, {})
        try:
            wait_until(lambda: title_of(pid).endswith(" in the title"))
            assert [variable_of(pid, name) for name in ("MARK", "NO_MARK", "ARK", "MAR")] == ["of=mine", "", "", ""]
        finally:
            kill_group(pid)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert variable_of(pid, "MARK") == title_of(pid) == ""

    def test_signals_to_processes_that_are_gone_are_no_error(self):
        pid = child_that(lambda: None)
        os.waitpid(pid, 0)
        assert send_signal(pid, signal.SIGTERM) is Signalled.GONE
        assert kill_group(pid) is Signalled.GONE

    @in_a_child
    def test_signals_to_processes_of_another_user_are_refused_and_raise_nothing(self):
        if os.geteuid() == 0:
            os.setuid(65534)
        assert send_signal(1, 0) is Signalled.REFUSED
        assert Signalled.REFUSED, "there is such a process"

    def test_a_program_that_is_not_there_cannot_be_started(self):
        with pytest.raises(OSError, match="nothing-here"):
            spawn(["/nothing-here"], {}, {})

    def test_a_program_gets_the_descriptors_it_is_given_and_no_others(self):
        reader, writer = os.pipe()
        secret = os.open("/dev/null", os.O_RDONLY)
        code = f"import os; os.write(5, b'yes' if not os.path.exists('/proc/self/fd/{secret}') else b'no')"
        try:
            pid = spawn([sys.executable, "-c", code], dict(os.environ), {5: writer})
            os.waitpid(pid, 0)
            assert os.read(reader, 10) == b"yes"
        finally:
            for descriptor in (reader, writer, secret):
                os.close(descriptor)
