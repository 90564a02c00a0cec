"""Many processes, one environment: built once, taken over, told of, kept and removed."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.git_server import Upstream
from support.packages import make_package, make_project, make_wheel
from support.processes import is_gone
from support.waiting import wait_until

from ska_oet_device.errors import InvalidArgumentError, InvalidStateError
from ska_oet_device.locks import FileLock
from ska_oet_device.procedure.environment import (
    Environment,
    EnvironmentBuildError,
    EnvironmentState,
    HeldEvent,
    MarkEvent,
)
from ska_oet_device.procedure.environment.manager import EnvironmentManager
from ska_oet_device.procedure.gitmanager import GitArgs

FORK = multiprocessing.get_context("fork")

# Says that it has begun, and waits for the test to let it go on.
GATED = """
import pathlib, time
with open({begun!r}, "a") as begun:
    begun.write("x")
while not pathlib.Path({go!r}).exists():
    time.sleep(0.01)
"""


@pytest.fixture
def gated(tmp_path):
    """A project whose build waits for `go`, and counts how often it begins."""

    class Gated:
        begun, go = tmp_path / "begun", tmp_path / "go"

        def project(self, then: str = "") -> Path:
            hook = GATED.format(begun=str(self.begun), go=str(self.go)) + then
            return make_package(tmp_path / "gated", hook=hook)

        def times(self) -> int:
            return len(self.begun.read_text()) if self.begun.exists() else 0

    return Gated()


@pytest.fixture
def prepare_in_child(store):
    """Prepare in a process of its own, a session leader as workers are; ends with the test."""
    children = []

    def start(project, commit="c1"):
        ours, theirs = FORK.Pipe()
        child = FORK.Process(target=_prepare, args=(store, project, commit, theirs))
        child.start()
        theirs.close()
        children.append(child)
        child.answer = ours
        return child

    yield start
    for child in children:
        kill_session(child)
        child.join()
        child.answer.close()
        child.close()


def _prepare(store, project, commit, answer):
    os.setsid()
    signal.signal(signal.SIGTERM, _interrupt)
    manager = EnvironmentManager(base_dir=store)
    try:
        environment = manager.prepare(project, commit)
        answer.send(("ready", environment.location))
    except EnvironmentBuildError as error:
        answer.send(("failed", error.sentence))
    except KeyboardInterrupt:
        answer.send(("interrupted", ""))


def _interrupt(number, frame):
    raise KeyboardInterrupt


def kill_session(child):
    """Kill a child and what it has started, whether it has come to lead a session or not."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(child.pid, signal.SIGKILL)


def waits_for_a_lock(child):
    """Tell whether the kernel lists the child among those who wait for a lock."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("-> FLOCK" in line and str(child.pid) in line.split() for line in lines)


def answer_of(child):
    assert child.answer.poll(60), "no answer"
    return child.answer.recv()


def project_with(folder, *wanted):
    return make_project(folder, requirements_txt="".join(f"{each}\n" for each in wanted))


class TestSeveralWhoAskForOne:
    def test_at_once_build_it_once(self, gated, prepare_in_child):
        project = gated.project()
        children = [prepare_in_child(project) for _ in range(10)]
        wait_until(lambda: gated.times(), what="a build begins")
        gated.go.touch()
        answers = {answer_of(child) for child in children}
        assert [kind for kind, _ in answers] == ["ready"]
        assert gated.times() == 1

    def test_see_that_it_is_being_made(self, gated, prepare_in_child, manager):
        project = gated.project()
        child = prepare_in_child(project)
        wait_until(lambda: gated.times(), what="the build begins")
        environment, _ = manager.identify(project, "c1")
        assert environment.creating.is_set()
        assert not environment.created.is_set()
        assert [info.state for info in manager.list()] == [EnvironmentState.CREATING]
        with pytest.raises(InvalidStateError, match="being made"):
            manager.remove(environment.env_id)
        assert not environment.created.wait(0.05)
        gated.go.touch()
        assert environment.created.wait(20)
        assert answer_of(child)[0] == "ready"

    def test_fail_at_once_with_it_and_the_next_builds_anew(self, gated, prepare_in_child, tmp_path):
        repaired = tmp_path / "repaired"
        project = gated.project(f"\nif not pathlib.Path({str(repaired)!r}).exists(): raise SystemExit('no luck')")
        children = [prepare_in_child(project) for _ in range(4)]
        wait_until(lambda: gated.times(), what="a build begins")
        wait_until(lambda: sum(map(waits_for_a_lock, children)) == 3, what="the others wait")
        gated.go.touch()
        assert {answer_of(child)[0] for child in children} == {"failed"}
        assert gated.times() == 1
        repaired.touch()
        assert answer_of(prepare_in_child(project))[0] == "ready"

    def test_are_not_told_of_a_failure_of_yesterday(self, manager, tmp_path, prepare_in_child, wheels):
        project = project_with(tmp_path / "p", "latecomer")
        with pytest.raises(EnvironmentBuildError):
            manager.prepare(project, "c1")
        make_wheel(wheels, "latecomer", "1.0")
        children = [prepare_in_child(project) for _ in range(4)]
        assert {answer_of(child)[0] for child in children} == {"ready"}

    def test_go_on_where_the_builder_is_killed(self, gated, prepare_in_child, manager):
        project = gated.project()
        builder = prepare_in_child(project)
        wait_until(lambda: gated.times(), what="the build begins")
        others = [prepare_in_child(project) for _ in range(2)]
        os.kill(builder.pid, signal.SIGKILL)
        wait_until(lambda: is_gone(builder.pid), what="the end of the builder")
        environment, _ = manager.identify(project, "c1")
        time.sleep(0.1)
        assert environment.creating.is_set(), "the orphaned build still works in the folder"
        assert gated.times() == 1
        os.killpg(builder.pid, signal.SIGKILL)  # what main does to the session of a worker that has died
        wait_until(lambda: gated.times() == 2, what="somebody else builds")
        gated.go.touch()
        assert {answer_of(child)[0] for child in others} == {"ready"}
        assert gated.times() == 2

    def test_go_on_where_the_builder_is_interrupted(self, gated, prepare_in_child):
        project = gated.project()
        builder = prepare_in_child(project)
        wait_until(lambda: gated.times(), what="the build begins")
        other = prepare_in_child(project)
        os.kill(builder.pid, signal.SIGTERM)
        assert answer_of(builder)[0] == "interrupted"
        os.killpg(builder.pid, signal.SIGKILL)  # the build's own build, which falls to main
        gated.go.touch()
        assert answer_of(other)[0] == "ready"

    def test_a_build_that_was_killed_counts_as_failed_until_the_next(self, gated, prepare_in_child, manager):
        project = gated.project()
        builder = prepare_in_child(project)
        wait_until(lambda: gated.times(), what="the build begins")
        os.killpg(builder.pid, signal.SIGKILL)
        wait_until(
            lambda: [info.state for info in manager.list()] == [EnvironmentState.FAILED], what="it counts as failed"
        )
        assert "interrupted" in manager.list()[0].reason
        gated.go.touch()
        manager.prepare(project, "c1")
        assert manager.list()[0].state == EnvironmentState.READY

    def test_killed_at_any_moment_never_leave_a_half_made_one(self, tmp_path, prepare_in_child, manager, ask):
        project = project_with(tmp_path / "p", "user")
        for milliseconds in range(10, 300, 40):
            child = prepare_in_child(project)
            time.sleep(milliseconds / 1000)
            kill_session(child)
            child.join()
        environment = manager.prepare(project, "c1")
        assert ask(environment, "user.version", "user") == "1.0"


class TestTheIdentity:
    def test_is_one_for_two_commits_with_the_same_requirements(self, manager, tmp_path):
        one = manager.prepare(project_with(tmp_path / "one", "shared==1.0"), "c1")
        assert manager.prepare(project_with(tmp_path / "two", "shared==1.0"), "c2").location == one.location
        assert len(manager.list()) == 1

    def test_differs_by_requirements_and_by_commit_where_the_project_is_installed(self, manager, tmp_path):
        package = make_package(tmp_path / "package")
        plain = project_with(tmp_path / "plain", "shared")
        included = project_with(tmp_path / "included", "-r more.txt")
        ids = [manager.identify(package, commit)[0].env_id for commit in ("c1", "c2")]
        ids.append(manager.identify(plain, "c1")[0].env_id)
        for text in ("shared==1.0", "shared==2.0"):
            (included / "more.txt").write_text(text)
            ids.append(manager.identify(included, "c1")[0].env_id)
        assert len(set(ids)) == 5

    def test_of_requirements_with_a_local_package_has_the_commit(self, manager, tmp_path):
        for number, line in enumerate(["./lib", "-e .", ".", "-e ./lib[extra]", "lib @ ./lib"]):
            project = project_with(tmp_path / f"p{number}", line)
            assert manager.identify(project, "c1")[0].env_id != manager.identify(project, "c2")[0].env_id, line

    def test_leaves_the_packages_shared(self, manager, tmp_path):
        """The second environment has hard links to the files of the first."""
        first = manager.prepare(project_with(tmp_path / "one", "shared==1.0"), "c1")
        second = manager.prepare(project_with(tmp_path / "two", "shared==1.0", "user"), "c2")
        files = [Path(each.site_packages) / "shared" / "__init__.py" for each in (first, second)]
        assert files[0].samefile(files[1])

    @pytest.mark.parametrize("named", [True, False])
    def test_create_env_makes_a_folder_and_nothing_else(self, manager, tmp_path, named):
        upstream = Upstream(tmp_path / "served")
        (upstream.tree / "requirements.txt").write_text("shared\n")
        commit = upstream.commit()
        environment = manager.create_env(GitArgs(f"file://{upstream.bare}", git_commit=commit if named else None))
        assert not environment.created.is_set()
        assert not environment.creating.is_set()
        assert [info.state for info in manager.list()] == [EnvironmentState.CREATING]
        assert manager.prepare(upstream.tree, commit).location == environment.location
        assert environment.created.is_set()


class TestAnEnvironmentInUse:
    def test_is_never_removed(self, manager, tmp_path):
        environment = manager.prepare(project_with(tmp_path / "p", "shared"), "c1")
        with pytest.raises(InvalidStateError, match="in use"):
            manager.remove(environment.env_id)
        make_old(environment, days=99)
        assert manager.collect(30, 1) == []
        assert manager.list()[0].last_used > time.time() - 60, "it is being used now"
        manager.close()
        manager.remove(environment.env_id)
        assert manager.list() == []
        assert not environment.folder.exists()
        with pytest.raises(InvalidStateError, match="not READY"):
            environment.use()
        with pytest.raises(InvalidArgumentError):
            manager.remove(environment.env_id)

    def test_is_free_when_its_user_is_killed(self, manager, tmp_path):
        environment = manager.prepare(project_with(tmp_path / "p", "shared"), "c1")
        with Environment.at(environment.folder).use() as use:
            user = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(use.fileno(),))
        manager.close()
        try:
            with pytest.raises(InvalidStateError, match="in use"):
                manager.remove(environment.env_id)
        finally:
            user.kill()
            user.communicate()
        manager.remove(environment.env_id)

    def test_is_made_anew_when_its_python_has_gone(self, manager, tmp_path, ask):
        environment = manager.prepare(project_with(tmp_path / "p", "shared"), "c1")
        manager.close()
        os.unlink(environment.python)
        assert [info.state for info in manager.list()] == [EnvironmentState.FAILED]
        assert ask(manager.prepare(tmp_path / "p", "c1"), "shared.version", "shared") == "2.0"


class TestUnusedEnvironments:
    def test_go_after_so_many_days(self, manager, tmp_path):
        old, new = prepare_each(manager, tmp_path, "shared==1.0", "shared==2.0")
        make_old(old, days=31)
        assert manager.collect(30, 0) == [old.env_id]
        assert [info.env_id for info in manager.list()] == [new.env_id]
        assert manager.collect(0, 0) == []

    def test_stay_while_the_clock_is_in_doubt(self, manager, tmp_path):
        (old,) = prepare_each(manager, tmp_path, "shared==1.0")
        make_old(old, days=31)
        assert manager.collect(30, 0, time.time() - 2 * 86400) == []
        make_old(old, days=time.time() / 86400)  # used before the clock was set
        assert manager.collect(30, 0) == []

    def test_that_failed_go_too(self, manager, tmp_path):
        with pytest.raises(EnvironmentBuildError):
            manager.prepare(project_with(tmp_path / "p", "nowhere"), "c1")
        environment, _ = manager.identify(tmp_path / "p", "c1")
        assert manager.collect(30, 0) == []
        make_old(environment, days=31)
        assert manager.collect(30, 0) == [environment.env_id]

    def test_go_when_the_store_is_over_its_quota_the_least_recently_used_first(self, manager, tmp_path, wheels):
        for name in "abcd":
            make_wheel(wheels, f"large{name}", "1.0", size=4_000_000)
        made = prepare_each(manager, tmp_path, *(f"large{name}" for name in "abcd"))
        for environment, days in zip(made, (1, 4, 3, 2), strict=True):
            make_old(environment, days)
        assert 16_000_000 < manager.size() < 20_000_000, "a file that the cache has, too, counts once"
        assert manager.collect(30, 100_000_000) == []
        use = made[1].use()  # the least recently used one, until now
        assert manager.collect(30, 10_000_000) == [made[2].env_id, made[3].env_id]
        assert {info.env_id for info in manager.list()} == {made[0].env_id, made[1].env_id}
        assert 8_000_000 < manager.size() < 10_000_000
        use.close()

    def test_stay_while_giving_up_downloaded_packages_is_enough(self, manager, tmp_path, wheels):
        make_wheel(wheels, "large", "1.0", size=4_000_000)
        large, small = prepare_each(manager, tmp_path, "large", "shared")
        manager.remove(large.env_id)  # its files stay in the cache
        assert manager.collect(0, 3_000_000) == []
        assert [info.env_id for info in manager.list()] == [small.env_id]
        assert sum(file.lstat().st_size for file in manager.base_dir.rglob("*")) < 3_000_000

    def test_a_build_does_not_fail_because_somebody_looks_at_what_is_not_there_yet(
        self, manager, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("ska_oet_device.procedure.environment.manager._PATIENCE", 20.0)  # the timer may come late
        project, commit = project_with(tmp_path / "p", "shared"), "c" * 40
        environment, _ = manager.identify(project, commit)
        environment.folder.mkdir(parents=True)
        look = FileLock.take(environment.using, shared=True)
        threading.Timer(0.3, look.close).start()
        assert manager.prepare(project, commit).is_ready()

    def test_are_removed_while_others_build(self, manager, tmp_path, prepare_in_child):
        """Whoever prepares has what it was given, however busily others remove."""
        project = project_with(tmp_path / "p", "shared")
        children = [prepare_in_child(project) for _ in range(4)]
        removed = 0
        while any(child.is_alive() for child in children):
            removed += len(manager.collect(1e-9, 1))
            time.sleep(0.005)
        answers = [answer_of(child) for child in children]
        assert [answer[0] for answer in answers] == ["ready"] * 4, answers

    def test_a_removal_that_was_killed_is_finished_by_the_next(self, manager, tmp_path):
        (environment,) = prepare_each(manager, tmp_path, "shared")
        trash = manager.base_dir / ".trash"
        trash.mkdir(exist_ok=True)
        environment.folder.rename(trash / "left")
        manager.collect(30, 0)
        assert list(trash.iterdir()) == []

    def test_a_store_that_is_not_there_is_empty(self, manager):
        assert manager.list() == []
        assert manager.collect(30, 1) == []
        with pytest.raises(InvalidArgumentError, match="no environment"):
            manager.remove("../../etc")


class TestEventsOfTheFileSystem:
    def test_work_between_processes_and_end_with_the_one_that_holds(self, tmp_path):
        event = HeldEvent(tmp_path / "creating")
        assert not event.is_set()
        child = FORK.Process(target=_hold, args=(tmp_path / "creating",))
        child.start()
        assert event.wait(10)
        event.set()
        event.clear()
        assert event.is_set(), "it is not ours to clear"
        child.kill()
        child.join()
        assert not event.is_set()

    def test_can_be_set_cleared_and_waited_for(self, tmp_path):
        for event in (HeldEvent(tmp_path / "a"), MarkEvent(tmp_path / "b")):
            assert not event.wait(0.03)
            event.set()
            event.set()
            assert event.is_set()
            assert event.wait()
            event.clear()
            event.clear()
            assert not event.is_set()


def _hold(path):
    event = HeldEvent(path)
    event.set()
    time.sleep(60)


def prepare_each(manager, tmp_path, *wanted):
    """Make an environment for each requirement; none of them is in use."""
    made = [manager.prepare(project_with(tmp_path / f"p{n}", each), "c1") for n, each in enumerate(wanted)]
    manager.close()
    return made


def make_old(environment, days):
    """Let the last use be so many days ago."""
    then = time.time() - days * 86400
    record = environment.record
    content = json.loads(record.read_text())
    content.update(started=then, ended=then)
    record.write_text(json.dumps(content))
    for path in (environment.using, environment.folder):
        if path.exists():
            os.utime(path, (then, then))
