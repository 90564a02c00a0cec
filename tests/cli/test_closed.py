"""Standard input, output and error that are closed, full, or read by nobody: a status, a line, and no traceback."""

from __future__ import annotations

import os
import subprocess

import pytest
from support.tango_server import program


def _through_a_shell(oet, words: str) -> tuple[int, str, str]:
    """Call it as somebody types it in a bash."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program('oet')} {words}"],
        env=oet.environment(), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


CLOSED = {
    "list >&-": (74, "oet: standard output cannot be written: Bad file descriptor\n"),
    "--help >&-": (74, "oet: standard output cannot be written: Bad file descriptor\n"),
    "list >/dev/full": (74, "oet: standard output cannot be written: No space left on device\n"),
    "list --json >/dev/full": (
        74,
        '{"error": "unwritable", "text": "standard output cannot be written: No space left on device", "status": 74}\n',
    ),
    "--help >/dev/full": (74, "oet: standard output cannot be written: No space left on device\n"),
    "--version >/dev/full": (74, "oet: standard output cannot be written: No space left on device\n"),
    "describe 9999 2>&-": (3, ""),
    "describe 9999 2>/dev/full": (3, ""),
    "fly >&- 2>&- <&-": (2, ""),
    "health --timeout 30 >&-": (0, ""),
    "health --timeout 30 >/dev/full": (0, ""),
    "health --timeout soon 2>&-": (2, ""),
}


@pytest.mark.parametrize("words", CLOSED)
def test_what_cannot_be_written_is_a_status_and_at_most_a_line(oet, device, words):
    assert _through_a_shell(oet, words) == (CLOSED[words][0], "", CLOSED[words][1])


@pytest.mark.parametrize("words", ["--help", "run --help", "list"])
def test_a_pipe_that_nobody_reads_ends_it_quietly(oet, device, words):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        done = subprocess.run(
            [program("oet"), *words.split()],
            env=oet.environment(), stdout=nobody, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_nothing_is_missed_of_what_is_not_needed(oet, device, closed):
    status, out, err = _through_a_shell(oet, f"list {closed}")
    assert (status, out.split()[:2], err) == (0, ["ID", "STATE"], "")


def test_a_run_is_followed_without_standard_input_and_error(oet, tidy):
    status, out, err = _through_a_shell(oet, "run -f good.py <&- 2>&-")
    assert (status, out.splitlines()[-1].split()[1], err) == (0, "COMPLETE", "")
