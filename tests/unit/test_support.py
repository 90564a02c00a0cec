"""What the tests themselves rely on."""

from __future__ import annotations

import os

import pytest
from support.forked import in_a_child
from support.waiting import wait_until


def test_what_fails_in_a_child_fails_with_its_message():
    @in_a_child
    def fails() -> None:
        raise ValueError("in the child")

    with pytest.raises(AssertionError, match="in the child"):
        fails()


def test_a_child_that_is_killed_fails():
    @in_a_child
    def dies() -> None:
        os.kill(os.getpid(), 9)

    with pytest.raises(AssertionError, match="ended with -9"):
        dies()


def test_what_a_child_changes_stays_there():
    changed: list[int] = []

    @in_a_child
    def changes() -> None:
        changed.append(1)
        assert changed

    changes()
    assert changed == []


def test_waiting_in_vain_fails_loudly():
    with pytest.raises(AssertionError, match="for ever"):
        wait_until(lambda: False, 0.01, "for ever")
