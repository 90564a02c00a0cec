"""A script prints or publishes as fast as it can: a page goes on showing what is so, and Stop does not wait for it."""

from __future__ import annotations

import json

import pytest
from support.tango_server import FIRST, Oet
from support.tangogql import TangoGql
from support.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

_SHOWN = ("State", "activeProcedureState", "procedureTable", "scriptOutput", "scriptEvent", "lifecycleEvent")
_STOPPED = 9


@pytest.mark.parametrize("script", ["flood_stdout.py", "flood_pubsub.py"])
def test_a_page_shows_the_end_of_a_flood_by_events_and_misses_no_state(
    oet: Oet, tangogql: TangoGql, script: str
) -> None:
    names = [f"{FIRST}/{name}".lower() for name in _SHOWN]
    with tangogql.subscribe(names) as page:
        assert tangogql.write(FIRST, "selectedScript", f"file://{script}")["ok"]
        assert tangogql.write(FIRST, "scriptArguments", "{}")["ok"]
        page.wait_for_all()
        tangogql.wait_for_events(names)
        page.wait_until_heard(oet)
        page.clear()
        assert tangogql.execute(FIRST, "RunSelected")["ok"]
        page.wait_for("State", lambda state: state == "RUNNING")
        if script == "flood_stdout.py":
            page.wait_for("scriptOutput", lambda text: "x" * 100 in text)
        else:  # thinned where they come in: some are told, and how many were not
            wait_until(lambda: len(page.frames("scriptEvent")) > 10, 30, "messages of the flood")
        answer = tangogql.execute(FIRST, "StopActive")
        assert answer["ok"], answer["message"]
        page.wait_for("activeProcedureState", lambda number: number == _STOPPED)
        page.wait_for("procedureTable", lambda rows: rows[1][rows[0].index("state")] == "STOPPED")
        page.wait_for("State", lambda state: state == "ON")
        uid = int(page.latest("procedureTable")[1][0])
        oet.recorder.wait_for_end(uid)
        states = oet.recorder.states(uid)

        def heard() -> list[str]:
            events = {text: json.loads(text) for text in page.values("lifecycleEvent")}
            return [event["state"] for event in events.values() if event.get("process_uid") == uid]

        wait_until(lambda: heard() == states, 30, f"{states} are heard")
        assert [frame for frame in page.frames() if frame.error] == []
        assert {tangogql.sources()[name] for name in names} == {"CHANGE_EVENT"}
