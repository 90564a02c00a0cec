"""A procedure as an operator drives it from a dashboard: commands by HTTP, everything else by one subscription."""

from __future__ import annotations

import json

import pytest
from support.tango_server import FIRST, Oet
from support.tangogql import TangoGql
from support.waiting import wait_until

pytestmark = pytest.mark.long

_SHOWN = (
    "State",
    "Status",
    "activeProcedureId",
    "activeProcedureState",
    "activeProgress",
    "activeActivity",
    "procedureIds",
    "procedureStates",
    "lifecycleEvent",
    "scriptOutput",
    "waitForQaReady",
    "healthState",
)


def test_a_procedure_is_run_followed_and_stopped_by_what_a_page_hears(oet: Oet, tangogql: TangoGql) -> None:
    names = [f"{FIRST}/{name}" for name in _SHOWN]
    labels = tangogql.descriptions(names)[f"{FIRST}/activeprocedurestate"]["enumLabels"]
    with tangogql.subscribe(names) as page:
        wait_until(lambda: len({frame.attribute for frame in page.frames()}) == len(_SHOWN), 30, "a frame each")
        page.clear()
        request = {
            "script": {"script_type": "filesystem", "script_uri": "file://progress.py"},
            "run_args": {"kwargs": {"seconds": 600, "percent": 12.5, "activity": "slewing"}},
        }
        answer = tangogql.execute(FIRST, "Run", json.dumps(request))
        assert answer["ok"], answer["message"]
        uid = json.loads(answer["output"])["id"]
        page.wait_for("State", lambda state: state == "RUNNING")
        page.wait_for("activeProcedureId", lambda number: number == uid)
        page.wait_for("activeProgress", lambda percent: percent == 12.5)
        page.wait_for("activeActivity", lambda activity: activity == "slewing")
        page.wait_for("Status", lambda text: text.startswith(f"Procedure {uid} is RUNNING"))
        page.clear()

        assert tangogql.execute(FIRST, "Stop", str(uid))["ok"]
        page.wait_for("activeProcedureState", lambda number: labels[number] == "STOPPED")
        page.wait_for("State", lambda state: state == "ON")
        wait_until(
            lambda: (
                dict(zip(page.latest("procedureIds") or (), page.latest("procedureStates") or (), strict=False)).get(
                    uid
                )
                == "STOPPED"
            ),
            30,
            "the row of the procedure",
        )
        assert set(tangogql.sources().values()) == {"CHANGE_EVENT"}
        assert [frame for frame in page.frames() if frame.error] == []


def test_every_state_of_a_procedure_is_heard_in_its_order(oet: Oet, tangogql: TangoGql) -> None:
    with tangogql.subscribe([f"{FIRST}/lifecycleEvent"]) as page:
        wait_until(lambda: page.frames(), 30, "the first frame")
        uid = json.loads(tangogql.execute(FIRST, "Run", "file://good.py")["output"])["id"]
        oet.recorder.wait_for_end(uid)
        expected = oet.recorder.states(uid)

        def heard() -> list[str]:
            events = [json.loads(text) for text in page.values("lifecycleEvent")]
            by_number = {event["sequence"]: event["state"] for event in events if event.get("process_uid") == uid}
            return [by_number[number] for number in by_number]

        wait_until(lambda: heard() == expected, 30, f"{expected} are heard")


def test_the_flag_is_written_and_shown_again(oet: Oet, tangogql: TangoGql) -> None:
    with tangogql.subscribe([f"{FIRST}/waitForQaReady"]) as page:
        for value in (False, True):
            answer = tangogql.write(FIRST, "waitForQaReady", value)
            assert (answer["ok"], answer["attribute"]["value"]) == (True, value)
            page.wait_for("waitForQaReady", lambda shown, value=value: shown is value)
            page.clear()


def test_the_audit_names_the_user_whom_a_dashboard_names(oet: Oet, tangogql: TangoGql) -> None:
    request = {"script": {"script_type": "filesystem", "script_uri": "file://good.py"}, "user": "an operator"}
    uid = json.loads(tangogql.execute(FIRST, "Run", json.dumps(request))["output"])["id"]
    (entry,) = (each for each in json.loads(oet.proxy.Requests("")) if each["process_uid"] == uid)
    assert entry["user"] == "an operator"
    assert "uvicorn" in entry["client"]


def test_two_pages_hear_the_same(oet: Oet, tangogql: TangoGql) -> None:
    names = [f"{FIRST}/procedureIds", f"{FIRST}/State"]
    with tangogql.subscribe(names) as one, tangogql.subscribe(names) as other:
        uid = oet.running("sleepy.py")
        for page in (one, other):
            page.wait_for("procedureIds", lambda ids: ids and ids[-1] == uid)
            page.wait_for("State", lambda state: state == "RUNNING")
