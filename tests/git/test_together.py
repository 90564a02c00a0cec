"""Many at once, and those that are ended in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support.waiting import wait_until

CODE = """
import json, pathlib, signal, sys
from ska_oet_device.procedure.gitmanager import GitArgs, checkout
import git

class Terminated(BaseException):
    pass

def interrupt(*_):
    raise Terminated

signal.signal(signal.SIGTERM, interrupt)
print("here", flush=True)
sys.stdin.readline()
url, branch, commit, store = json.loads(sys.argv[1])
try:
    print(checkout(GitArgs(url, branch, commit), pathlib.Path(store)).commit, flush=True)
except Terminated:
    print("terminated", flush=True)
"""


class Process:
    """Another process that asks for a commit."""

    def __init__(self, client, branch=None, commit=None) -> None:
        asked = json.dumps([client.url, branch, commit, str(client.store)])
        self._popen = subprocess.Popen(
            [sys.executable, "-c", CODE, asked],
            env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def go(self) -> Process:
        """Let it ask, now that it has started."""
        assert self._popen.stdout.readline() == "here\n"
        self._popen.stdin.write("\n")
        self._popen.stdin.flush()
        return self

    def end(self, signum: signal.Signals) -> list[psutil.Process]:
        """Send a signal; returns the processes that it had started."""
        children = psutil.Process(self._popen.pid).children(recursive=True)
        self._popen.send_signal(signum)
        return children

    def answer(self) -> str:
        said, _ = self._popen.communicate(timeout=20)
        return said.strip()


@pytest.fixture
def start(client):
    processes = []

    def starts(*args, **kwargs):
        processes.append(Process(client, *args, **kwargs))
        return processes[-1]

    yield starts
    for process in processes:
        process._popen.kill()
        process._popen.communicate()


def locks(store: Path) -> int:
    """Count the processes that wait for a lock below a folder."""
    inodes = {path.stat().st_ino for path in store.glob("repositories/*.lock")}
    with open("/proc/locks") as lines:
        return sum("->" in line and int(line.split()[6].split(":")[2]) in inodes for line in lines)


class TestTenAtOnce:
    def test_who_ask_for_a_new_commit_share_one_clone_and_one_checkout(self, start, client, upstream, server):
        server.let_go.clear()
        commit = upstream.head()
        processes = [start(commit=commit) for _ in range(10)]
        for process in processes:
            process.go()
        wait_until(lambda: locks(client.store) == 9, 20, "nine wait for the one that clones")
        server.let_go.set()
        assert {process.answer() for process in processes} == {commit}
        assert (server.connections, server.packs) == (1, 1)
        assert [path.name for path in client.store.glob("checkouts/*/*") if path.is_dir()] == [commit]

    def test_who_ask_for_a_branch_share_a_fetch_that_began_after_they_asked(self, start, client, upstream, server):
        server.let_go.clear()
        first = start("main").go()
        assert server.half_sent.wait(20)
        newer = upstream.commit()  # while the first one is being served
        others = [start("main").go() for _ in range(4)]
        wait_until(lambda: locks(client.store) == 4, 20, "the others wait")
        server.let_go.set()
        first.answer()
        assert {process.answer() for process in others} == {newer}
        assert server.connections == 2


class TestEndedInTheMiddle:
    def test_a_clone_whose_maker_was_killed_is_made_anew(self, start, client, upstream, server):
        server.let_go.clear()
        process = start().go()
        assert server.half_sent.wait(20)
        orphans = process.end(signal.SIGKILL)
        process.answer()
        assert list(client.store.glob("repositories/.making-*"))
        assert not list(client.store.glob("repositories/*.git"))
        server.let_go.set()
        assert client.get().commit == upstream.head()
        wait_until(lambda: not any(orphan.is_running() for orphan in orphans), 10, "git has ended, too")
        # It may have written once more into what was removed meanwhile: gone with the next fetch at the latest.
        assert client.get().commit == upstream.head()

    def test_what_a_git_left_in_a_folder_that_was_removed_goes_with_the_next_fetch(self, client):
        client.get()
        (clone,) = client.store.glob("repositories/*.git")
        (clone.with_name(f".making-{clone.name}-w63a0t3i") / "objects").mkdir(parents=True)
        client.get()

    def test_a_fetch_whose_git_was_killed_leaves_nothing_in_the_way(self, start, client, upstream, server, store):
        client.get()
        head = upstream.commit(neighbour="VALUE = 2\n")
        server.let_go.clear()
        process = start().go()
        assert server.half_sent.wait(20)
        for orphan in process.end(signal.SIGKILL):
            orphan.kill()
        process.answer()
        (clone,) = store.glob("repositories/*.git")
        for leftover in ("refs/remotes/origin/main.lock", "packed-refs.lock", "objects/pack/tmp_pack_x"):
            (clone / leftover).parent.mkdir(exist_ok=True)
            (clone / leftover).touch()
        server.let_go.set()
        assert client.get().commit == head
        assert not (clone / "objects/pack/tmp_pack_x").exists()

    @pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
    def test_a_checkout_whose_maker_was_ended_is_made_anew(self, start, client, upstream, tmp_path, signum):
        hold, reached = tmp_path / "hold", tmp_path / "reached"
        hold.touch()
        filter_ = tmp_path / "filter"
        filter_.write_text(f"#!/bin/sh\ntouch {reached}\nwhile [ -e {hold} ]; do sleep 0.02; done\ncat\n")
        filter_.chmod(0o755)
        with open(os.environ["GIT_CONFIG_GLOBAL"], "a") as settings:
            settings.write(f'[filter "slow"]\n\tsmudge = {filter_}\n')
        (upstream.tree / ".gitattributes").write_text("neighbour.py filter=slow\n")
        head = upstream.commit()
        process = start().go()
        wait_until(reached.exists, 20, "the checkout is half made")
        orphans = process.end(signum)
        assert process.answer() == ("terminated" if signum == signal.SIGTERM else "")
        assert len(list(client.store.glob("checkouts/*/.making-*"))) == (2 if signum == signal.SIGKILL else 0)
        assert not list(client.store.glob("checkouts/*/[0-9a-f]*"))
        hold.unlink()
        wait_until(lambda: not any(orphan.is_running() for orphan in orphans), 10, "git has ended, too")
        got = client.get()
        assert got.commit == head
        assert (got.path / "neighbour.py").read_text() == "VALUE = 1\n"

    def test_sigterm_ends_git_and_frees_the_lock(self, start, client, upstream, server):
        server.let_go.clear()
        process = start().go()
        assert server.half_sent.wait(20)
        waiting = start().go()
        wait_until(lambda: locks(client.store) == 1, 20, "the second one waits")
        waiting.end(signal.SIGTERM)
        assert waiting.answer() == "terminated"
        children = process.end(signal.SIGTERM)
        assert process.answer() == "terminated"
        assert children
        wait_until(lambda: not any(child.is_running() for child in children), 20, "git has ended at once")
        assert not list(client.store.glob("repositories/.making-*"))
        server.let_go.set()
        assert client.get().commit == upstream.head()
