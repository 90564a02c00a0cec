"""What an operator reads when a device refuses: the whole sentence, with the reason in it: nothing else arrives."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tango
from support.tango_server import FIRST, Oet, filesystem, reason_of
from support.tangogql import TangoGql

pytestmark = pytest.mark.long


def refusal(oet: Oet, tangogql: TangoGql, command: str, argument: Any) -> str:
    """Return what is read on a dashboard when a command is refused: the same as any client is told."""
    answer = tangogql.execute(FIRST, command, argument)
    assert answer["ok"] is False
    (text,) = answer["message"]
    with pytest.raises(tango.DevFailed) as failed:
        oet.proxy.command_inout(command, argument)
    reason, description = reason_of(failed.value)
    assert text == description
    assert text.endswith(f" [{reason}]")
    assert text.isprintable()
    return reason


@pytest.mark.parametrize(
    ("command", "argument", "reason"),
    [
        ("Run", "{not JSON", "OET_InvalidArgument"),
        ("Run", '{"script": {"script_type": "tape", "script_uri": "file://good.py"}}', "OET_InvalidArgument"),
        ("Run", '{"\\u671b\\u9060\\u93e1\\n\\u0000": 1}', "OET_InvalidArgument"),
        ("Run", json.dumps({"x" * 100_000: 1}), "OET_InvalidArgument"),
        ("Run", "file://there-is-none.py", "OET_ScriptNotFound"),
        ("Run", "file:///etc/passwd", "OET_NotAllowed"),
        ("Start", "999999", "OET_UnknownProcedure"),
        ("Start", "", "OET_InvalidState"),
        ("Stop", "", "OET_InvalidState"),
        ("CheckReport", 999_999, "OET_UnknownCheck"),
        ("Prepare", json.dumps({"script": filesystem("good.py"), "user": "x" * 2**20}), "OET_TooLarge"),
    ],
    ids=[
        "no JSON",
        "an unknown kind of script",
        "a key of strange characters",
        "a long key",
        "no such file",
        "outside ScriptRoots",
        "no such procedure",
        "nothing to start",
        "nothing to stop",
        "no such check",
        "more than 1 MiB",
    ],
)
def test_a_refusal_says_what_is_wrong_and_its_reason(
    oet: Oet, tangogql: TangoGql, command: str, argument: Any, reason: str
) -> None:
    assert refusal(oet, tangogql, command, argument) == reason


def test_a_git_repository_that_is_not_allowed_is_refused_readably(oet: Oet, tangogql: TangoGql) -> None:
    script = {"script_type": "git", "script_uri": "git://a.py", "git_args": {"git_repo": "https://other.invalid/a.git"}}
    assert refusal(oet, tangogql, "Run", json.dumps({"script": script})) == "OET_NotAllowed"


def test_a_second_start_is_told_who_has_the_turn(oet: Oet, tangogql: TangoGql) -> None:
    waiting = oet.ready("good.py")
    running = oet.running("sleepy.py")
    assert refusal(oet, tangogql, "Start", str(waiting)) == "OET_Busy"
    assert f"procedure {running} is RUNNING" in tangogql.execute(FIRST, "Start", str(waiting))["message"][0]
    assert refusal(oet, tangogql, "Start", str(running)) == "OET_InvalidState"


def test_one_procedure_too_many_is_refused_readably(oet: Oet, tangogql: TangoGql) -> None:
    with oet.properties(MaxProcedures=1):
        oet.running("sleepy.py")
        assert refusal(oet, tangogql, "Prepare", "file://good.py") == "OET_TooMany"


def test_a_device_that_is_offline_says_so_and_can_still_be_stopped(oet: Oet, tangogql: TangoGql) -> None:
    running = oet.running("sleepy.py")
    assert tangogql.write(FIRST, "adminMode", 1)["ok"]
    try:
        assert refusal(oet, tangogql, "Prepare", "file://good.py") == "OET_NotAllowed"
        assert tangogql.execute(FIRST, "StopActive")["ok"]
        oet.recorder.wait_for_state(running, "STOPPED")
    finally:
        assert tangogql.write(FIRST, "adminMode", 0)["ok"]


def test_who_has_not_logged_in_may_look_and_do_nothing(oet: Oet, tangogql: TangoGql) -> None:
    answer = tangogql.execute_as_nobody(FIRST, "OverrideWaitForQaReady")
    assert (answer["data"]["executeCommand"], answer["errors"][0]["message"]) == (None, "User is not logged in")
    assert tangogql.values([f"{FIRST}/state"])[f"{FIRST}/state"]["value"] == "ON"


def test_who_has_been_logged_in_for_too_long_is_told_so(oet: Oet, tangogql: TangoGql) -> None:
    running = oet.running("sleepy.py")
    answer = tangogql.execute_too_late(FIRST, "StopActive")
    assert (answer["data"]["executeCommand"], answer["errors"][0]["message"]) == (None, "Signature has expired")
    assert oet.state(running) == "RUNNING"
