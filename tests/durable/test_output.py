"""What scripts and their children print: captured by descriptor, capped, and readable page by page."""

from __future__ import annotations

import json
import statistics
import time

import pytest
import tango
from support.databases import make_database
from support.durable import Station
from support.waiting import wait_until

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def made(database, scripts, tmp_path_factory):
    """A server for all tests of this module."""
    made = Station(database, "output", tmp_path_factory.mktemp("output"), {"ScriptRoots": [scripts], "MaxOutput": 1})
    try:
        made.start()
        yield made
    finally:
        made.clean_up()


def file_of(made: Station, uid: int):
    """Return its file, which the recorder makes when the first output arrives."""
    state = made.folder / "state"
    return wait_until(lambda: next(state.rglob(f"output/{uid}.log"), None), what=f"procedure {uid} has printed")


class TestCapture:
    def test_python_c_and_children_on_both_streams(self, made):
        uid = made.oet.run("prints.py")
        made.wait_for(uid, "COMPLETE")
        lines = made.output(uid).splitlines()
        assert lines[0] == "line 0 é€😀"
        assert {"an error", "from C", "from a child", "its error"} <= set(lines)
        assert file_of(made, uid).read_text("utf-8") == made.output(uid)

    def test_a_traceback_is_there_too(self, made):
        uid = made.oet.run("raises.py")
        made.wait_for(uid, "FAILED")
        assert "ValueError: no such receiver é€" in made.output(uid)

    def test_what_was_printed_before_a_traceback_stands_before_it(self, made):
        uid = made.oet.run("raises_mid_line.py")
        made.wait_for(uid, "FAILED")
        assert made.output(uid).startswith("half a line")

    def test_can_be_read_while_the_script_runs(self, made):
        uid = made.oet.run("prints_for_ever.py")
        wait_until(lambda: "tick 50\n" in made.output(uid))
        page = json.loads(made.proxy.Output(str(uid)))
        assert page["complete"] is False
        made.oet.stop(uid)
        made.wait_for(uid, "STOPPED")
        assert json.loads(made.proxy.Output(json.dumps({"process_uid": uid, "offset": 10**9})))["complete"] is True

    def test_is_there_after_a_restart(self, made):
        uid = made.oet.run("prints.py")
        made.wait_for(uid, "COMPLETE")
        before = made.output(uid)
        made.kill_device_server()
        assert made.output(uid) == before


class TestPages:
    @pytest.mark.parametrize("limit", [1, 4, 5, 7, 64, 10**6])
    def test_put_together_are_the_file(self, made, limit):
        uid = made.oet.run("prints.py", lines=20)
        made.wait_for(uid, "COMPLETE")
        text = made.output(uid, limit)
        assert text == file_of(made, uid).read_text("utf-8")
        assert "\ufffd" not in text

    def test_an_unknown_procedure_is_refused(self, made):
        with pytest.raises(tango.DevFailed, match="OET_UnknownProcedure"):
            made.proxy.Output("999999")

    @pytest.mark.parametrize(
        "argument", ["", "x", "{}", '{"process_uid": 1, "limit": 0}', '{"process_uid": 1, "offset": -1}']
    )
    def test_a_wrong_request_is_refused(self, made, argument):
        with pytest.raises(tango.DevFailed, match="OET_InvalidArgument"):
            made.proxy.Output(argument)


class TestMaxOutput:
    def test_the_middle_is_dropped_and_says_so(self, made):
        uid = made.oet.run("floods.py", 20)
        made.wait_for(uid, "COMPLETE", seconds=30)
        path = file_of(made, uid)
        wait_until(lambda: path.stat().st_blocks * 512 <= 1.1 * MIB, what="the file is shortened")
        text = made.output(uid)
        assert text.startswith("FIRST\n")
        assert text.endswith("LAST\n")
        assert text.count("bytes of output were dropped here: MaxOutput") == 1
        assert len(text) < 1.1 * MIB

    @pytest.mark.long
    def test_holds_for_a_script_that_is_ready(self, made):
        uid = made.oet.ready("floods_when_ready.py")
        path = file_of(made, uid)
        wait_until(lambda: path.stat().st_size > 20 * MIB, 30, "it has printed much")
        wait_until(lambda: path.stat().st_blocks * 512 <= 1.1 * MIB, what="the file is shortened")
        made.oet.stop(uid)
        made.wait_for(uid, "STOPPED")

    @pytest.mark.long
    def test_holds_while_there_is_no_device_object(self, scripts, tmp_path):
        database = make_database(tmp_path, lasting=True)
        made = Station(database, "alone", tmp_path / "alone", {"ScriptRoots": [scripts], "MaxOutput": 1})
        try:
            made.start()
            uid = made.oet.run("floods_for_ever.py")
            made.wait_for(uid, "RUNNING")
            path = file_of(made, uid)
            admin = tango.DeviceProxy(made.proxy.adm_name())
            database.stop()
            with pytest.raises(tango.DevFailed, match="not available any more"):
                admin.DevRestart(made.device)
            printed = path.stat().st_size
            wait_until(lambda: path.stat().st_size > printed + 40 * MIB, 30, "it prints on")
            wait_until(lambda: path.stat().st_blocks * 512 <= 1.1 * MIB, what="the file is shortened")
        finally:
            made.clean_up()
            database.stop()

    @pytest.mark.long
    def test_a_flood_harms_neither_the_server_nor_another_script(self, made, tmp_path):
        other = made.oet.ready("step.py", str(tmp_path))
        flood = made.oet.run("floods.py", 4000)
        wait_until(lambda: file_of(made, flood).stat().st_size > 20 * MIB, 30, "it has printed much")
        answers = []
        for _ in range(20):
            started = time.monotonic()
            made.oet.summary(other)
            answers.append(time.monotonic() - started)
        made.oet.stop(flood)
        made.wait_for(flood, "STOPPED", "COMPLETE")
        assert statistics.median(answers) < 0.5, "the disk is shared, so one or the other may be slow"
        assert file_of(made, flood).stat().st_blocks * 512 < 4000 * MIB
        made.oet.start(other)
        (tmp_path / "end").touch()
        made.wait_for(other, "COMPLETE")


class TestNewestLines:
    def test_are_pushed_but_not_too_often(self, made):
        values: list[tuple[float, str]] = []
        proxy = tango.DeviceProxy(made.oet.url)
        subscription = proxy.subscribe_event(
            "scriptOutput",
            tango.EventType.CHANGE_EVENT,
            # The time is that of the push: on a busy machine several may come to us at once.
            lambda data: None if data.err else values.append((data.attr_value.time.totime(), data.attr_value.value)),
        )
        uid = made.oet.run("prints_for_ever.py")
        wait_until(lambda: len(values) > 22, 30, "lines are pushed")
        made.oet.stop(uid)
        made.wait_for(uid, "STOPPED")
        proxy.unsubscribe_event(subscription)
        # A push that is held up is late, and the next one is not.  Without a limit there are hundreds a second.
        span = values[22][0] - values[2][0]
        assert span > 20 * 0.1, "5 a second at most"
        assert "tick" in values[-1][1]
        assert len(values[-1][1].splitlines()) <= 52
