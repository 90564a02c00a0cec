"""The benchmark of many servers: it counts what it says, takes no more memory than there is, and leaves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil
import pytest
import tango
from bench import many
from bench.stack import Stack


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack() as stack:
        yield stack


def test_the_port_counts_each_request_and_passes_the_answers(stack: Stack) -> None:
    counted = many.CountedDatabase(stack.database.host)
    try:
        host, _, port = counted.host.rpartition(":")
        database = tango.Database(host, int(port))
        database.get_info()  # the first call asks a question more, what it speaks with
        before = counted.count()
        answers = {database.get_info() for _ in range(5)}
        assert counted.count() - before == 5
        assert len(answers) == 1
        assert "Database" in answers.pop()
    finally:
        counted.close()


@pytest.mark.long
def test_no_more_servers_are_started_than_memory_is_left_for(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([many.LEAST_FREE, many.LEAST_FREE, many.LEAST_FREE - 1])
    real = psutil.virtual_memory()
    monkeypatch.setattr(many.psutil, "virtual_memory", lambda: real._replace(available=next(left)))
    with many.many_servers(stack, stack.database, "few", 5) as started:
        assert len(started.running) == 2
        assert started.why_fewer == "memory for 2 servers only, of 5"
        pids = [process.pid for process in started.processes()]
        assert len(pids) > 4
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


@pytest.mark.long
def test_one_that_dies_while_it_starts_is_named_and_the_others_run(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = many.answers

    def answers(url: str) -> bool:
        if "some2" not in url:
            return real(url)
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.ZombieProcess):
                if "some2" in child.cmdline():
                    child.kill()
        return False

    monkeypatch.setattr(many, "answers", answers)
    with many.many_servers(stack, stack.database, "some", 2) as started:
        assert [running.url.split("/")[-2] for running in started.running] == ["some1"]
        assert [url.split("/")[-2] for url in started.failed] == ["some2"]
