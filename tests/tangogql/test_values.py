"""What the device pushes is what a page of Taranta shows: by events, whatever characters it has, however long it is."""

from __future__ import annotations

import json

import pytest
from support.tango_server import FIRST, PUSHED, Oet
from support.tangogql import TangoGql
from support.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

_ADMIN = "dserver/oetdevice/taranta/state"  # Tango's own device, which has no events of it


def _full(*names: str) -> list[str]:
    return [f"{FIRST}/{name}" for name in names]


def test_every_attribute_arrives_by_event_and_none_is_polled(oet: Oet, tangogql: TangoGql) -> None:
    names = _full(*(each["name"] for each in tangogql.device(FIRST)["attributes"]))
    assert {f"{FIRST}/{name}".lower() for name in PUSHED} <= {name.lower() for name in names}
    with tangogql.subscribe([*names, _ADMIN]) as page:
        page.wait_for_all()
        assert [frame for frame in page.frames() if frame.error] == []
        tangogql.wait_for_events(names)
        # What has no events is told as such: this test would notice.
        assert tangogql.sources()[_ADMIN] == "POLLING"


def test_a_page_learns_what_it_needs_to_show_each_attribute(oet: Oet, tangogql: TangoGql) -> None:
    device = tangogql.device(FIRST)
    assert (device["connected"], device["exported"], device["state"]) == (True, True, "ON")
    described = tangogql.descriptions(_full(*(each["name"] for each in device["attributes"])))
    without = [name for name, each in described.items() if not (each["datatype"] and each["label"])]
    assert without == []
    assert described[f"{FIRST}/activeprocedurestate"]["enumLabels"][7] == "RUNNING"
    assert described[f"{FIRST}/activeprogress"]["unit"] == "%"
    assert described[f"{FIRST}/waitforqaready"]["writable"] == "READ_WRITE"


def test_a_value_that_is_not_known_is_told_as_invalid_and_the_next_one_is_shown(oet: Oet, tangogql: TangoGql) -> None:
    with tangogql.subscribe(_full("activeProgress", "activeActivity")) as page:
        uid = oet.running("progress.py", seconds=60)
        assert page.wait_for("activeProgress", lambda value: value == 42.5).quality == "ATTR_VALID"
        assert page.wait_for("activeActivity", lambda value: value == "pointing the dishes").quality == "ATTR_VALID"
        page.clear()
        oet.stop(uid, run_abort=False)
        oet.recorder.wait_for_end(uid)
        oet.running("sleepy.py")  # which reports nothing
        last = page.wait_for("activeProgress", lambda value: value is None)  # 42.5 may be told once more before
        assert last.quality == "ATTR_INVALID"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("Größe", "Größe"),
        ("望遠鏡 Ω", r"\u671b\u9060\u93e1 \u03a9"),
        ("a\0b", "ab"),
        ("50%\rdone", "done"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("tab\there <b>&amp;</b> \"quoted\" 'so' \\n", None),
    ],
    ids=["latin-1", "not latin-1", "NUL", "carriage return", "colours", "markup"],
)
def test_what_a_script_prints_is_readable(oet: Oet, tangogql: TangoGql, printed: str, shown: str | None) -> None:
    with tangogql.subscribe(_full("scriptOutput")) as page:
        uid = oet.run("prints_a_line.py", line=f"{printed} is printed\nand so ends {oet.name}'s latest")
        oet.recorder.wait_for_end(uid)
        wait_until(lambda: page.latest("scriptOutput") == oet.proxy.scriptOutput, 30, "what stands there is shown")
        page.wait_for("scriptOutput", lambda text: (shown or printed) + " is printed\nand so ends" in text)
        assert "\0" not in page.latest("scriptOutput")


def test_what_a_script_raised_is_readable(oet: Oet, tangogql: TangoGql) -> None:
    names = _full("stacktrace", "lifecycleEvent")
    with tangogql.subscribe(names) as page:
        tangogql.wait_for_events(names)
        page.wait_until_heard(oet)
        uid = oet.run("raises.py", fn="text_of_many_alphabets")

        def is_its_end(text: str) -> bool:
            event = json.loads(text)
            return event.get("process_uid") == uid and event["state"] == "FAILED"

        event = json.loads(page.wait_for("lifecycleEvent", is_its_end).value)
        assert "Größe Ω 望遠鏡" in event["reason"]  # as JSON says it: a page parses it
        trace = page.wait_for("stacktrace", lambda text: "text_of_many_alphabets" in text).value
        assert r"ValueError: Größe \u03a9 \u671b\u9060\u93e1" in trace
        assert len(trace.splitlines()) > 3


def test_long_texts_arrive_whole(oet: Oet, tangogql: TangoGql) -> None:
    with tangogql.subscribe(_full("stacktrace", "procedures")) as page:
        uid = oet.run("raises.py", receiver="y" * 200_000)
        oet.recorder.wait_for_end(uid)
        trace = page.wait_for("stacktrace", lambda text: "yyyy" in text).value
        assert trace == oet.proxy.stacktrace
        assert len(trace) == 64 * 1024
        wait_until(lambda: page.latest("procedures") == oet.proxy.procedures, 30, "the newest list")
    uid = oet.run("prints_a_line.py", line="z" * 400_000)
    oet.recorder.wait_for_end(uid)
    answer = tangogql.execute(FIRST, "Output", json.dumps({"process_uid": uid, "limit": 512 * 1024}))
    assert json.loads(answer["output"])["text"] == "z" * 400_000 + "\n"


def test_a_hundred_procedures_are_in_the_table(oet: Oet, tangogql: TangoGql) -> None:
    rows = ("procedureIds", "procedureScripts", "procedureStates")
    with tangogql.subscribe(_full(*rows, "procedureTable")) as page:
        last = 0
        for _ in range(100):
            last = oet.run("good.py")
            oet.recorder.wait_for_end(last)
        wait_until(
            lambda: page.latest("procedureIds")[-1] == last and page.latest("procedureStates")[-1] == "COMPLETE",
            30,
            "the last one's end",
        )
        ids, scripts, states = (page.latest(name) for name in rows)
        assert ids == list(range(last - 99, last + 1))
        assert (scripts, states) == (["file://good.py"] * 100, ["COMPLETE"] * 100)
        wait_until(lambda: page.latest("procedureTable")[1][:1] == [str(last)], 30, "its row")
        names, *table = page.wait_for(
            "procedureTable", lambda found: found[1][2] == "COMPLETE" and found[1][0] == str(last)
        ).value
        assert [row[0] for row in table] == [str(uid) for uid in reversed(ids)]
        assert {row[names.index("state")] for row in table} == {"COMPLETE"}
