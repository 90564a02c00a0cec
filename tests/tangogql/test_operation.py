"""A procedure as an operator drives it from a dashboard: commands by HTTP, everything else by one subscription."""

from __future__ import annotations

import json
import time

import pytest
from support.audit import requests_since
from support.dashboards import FOLDER, Dashboard
from support.tango_server import FIRST, Oet
from support.tangogql import TangoGql
from support.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

_OPERATORS = "oet-operator.wj"


def test_a_procedure_is_chosen_run_followed_and_stopped_with_what_the_operators_board_has(
    oet: Oet, tangogql: TangoGql
) -> None:
    board = Dashboard(FOLDER / _OPERATORS)
    names = list(dict.fromkeys(use.full_name for use in board.attributes))
    labels = tangogql.descriptions(names)[f"{FIRST}/activeprocedurestate"]["enumLabels"]
    written = {use.name for use in board.attributes if "WRITER" in use.widget}
    buttons = {use.name for use in board.commands}
    with tangogql.subscribe(names) as page:
        page.wait_for_all()
        tangogql.wait_for_events(names)
        assert {"selectedscript", "scriptarguments", "selectedprocedure"} <= written
        script = next(uri for uri in page.latest("availableScripts") if uri.endswith("/progress.py"))
        arguments = '{"seconds": 600, "percent": 12.5, "activity": "slewing"}'
        for name, value in (("selectedscript", script), ("scriptarguments", arguments), ("selectedprocedure", 0)):
            answer = tangogql.write(FIRST, name, value)
            assert answer["ok"], answer["message"]
            wait_until(lambda name=name, value=value: page.latest(name) == value, 30, f"{name} is shown")
        page.clear()

        assert {"RunSelected", "StopActive", "StopSelected"} <= buttons
        answer = tangogql.execute(FIRST, "RunSelected")
        assert answer["ok"], answer["message"]
        page.wait_for("State", lambda state: state == "RUNNING")
        page.wait_for("activeProcedureState", lambda number: labels[number] == "RUNNING")
        page.wait_for("activeProgress", lambda percent: percent == 12.5)
        page.wait_for("activeActivity", lambda activity: activity == "slewing")
        uid = wait_until(lambda: page.latest("activeProcedureId"), 30, "its id")
        page.wait_for("Status", lambda text: text.startswith(f"Procedure {uid} is RUNNING"))
        page.wait_for("procedureTable", lambda rows: _state_in(rows, uid) == "RUNNING")
        page.clear()

        answer = tangogql.execute(FIRST, "StopActive")
        assert answer["ok"], answer["message"]
        page.wait_for("activeProcedureState", lambda number: labels[number] == "STOPPED")
        page.wait_for("State", lambda state: state == "ON")
        page.wait_for("procedureTable", lambda rows: _state_in(rows, uid) == "STOPPED")

        # A second press has nothing to stop, and says so.
        assert tangogql.execute(FIRST, "StopActive")["message"][0].endswith(" [OET_InvalidState]")
        assert {tangogql.sources()[name] for name in names} == {"CHANGE_EVENT"}
        assert [frame for frame in page.frames() if frame.error] == []


def _state_in(rows: list[list[str]], uid: int) -> str:
    """Return the state that a table of procedures shows of one; "" if it has no row."""
    return next((row[rows[0].index("state")] for row in rows if row[0] == str(uid)), "")


def test_every_state_of_a_procedure_is_heard_in_its_order(oet: Oet, tangogql: TangoGql) -> None:
    names = [f"{FIRST}/lifecycleEvent"]
    with tangogql.subscribe(names) as page:
        page.wait_for_all()
        tangogql.wait_for_events(names)
        page.wait_until_heard(oet)
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
    began = time.time()
    uid = json.loads(tangogql.execute(FIRST, "Run", json.dumps(request))["output"])["id"]
    (entry,) = requests_since(oet.proxy, began)
    assert entry["process_uid"] == uid
    assert entry["user"] == "an operator"
    assert "uvicorn" in entry["client"]


def test_two_pages_hear_the_same(oet: Oet, tangogql: TangoGql) -> None:
    names = [f"{FIRST}/procedureIds", f"{FIRST}/State"]
    with tangogql.subscribe(names) as one, tangogql.subscribe(names) as other:
        uid = oet.running("sleepy.py")
        for page in (one, other):
            page.wait_for("procedureIds", lambda ids: ids and ids[-1] == uid)
            page.wait_for("State", lambda state: state == "RUNNING")
