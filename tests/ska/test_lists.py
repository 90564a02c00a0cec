"""What telescope managers, test harnesses and people read of long running commands."""

from __future__ import annotations

import json
import re
import threading
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
import tango
from support.lrc import ACCEPTED, Told
from support.tango_server import EventRecorder, Oet, filesystem
from support.waiting import wait_until

UID = re.compile(r"\d+\.\d+_\d+_[A-Z][A-Za-z]+")


def pairs(flat: tuple[str, ...] | None) -> dict[str, str]:
    flat = flat or ()
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_a_telescope_manager_finds_the_result_that_it_compares_as_a_whole(oet):
    recorder = EventRecorder(oet.proxy, ("longRunningCommandResult", "longRunningCommandStatus"))
    try:
        (code,), (uid,) = oet.proxy.RunScript("file://good.py")
        assert code == 2
        wanted = (uid, json.dumps([0, "Command Completed"]))
        recorder.wait_for("longRunningCommandResult", lambda told: tuple(told) == wanted)
        recorder.wait_for("longRunningCommandStatus", lambda told: pairs(told).get(uid) == "COMPLETED")
        statuses = [pairs(told).get(uid) for told in recorder.values("longRunningCommandStatus")]
        seen = [each for each, before in zip(statuses, [None, *statuses], strict=False) if each and each != before]
        assert seen == ["QUEUED", "IN_PROGRESS", "COMPLETED"]
    finally:
        recorder.close()


def test_the_result_of_protocol_1_is_pushed_before_the_last_status(oet):
    recorder = EventRecorder(oet.proxy, ("longRunningCommandStatus", "longRunningCommandResult"))
    try:
        (_,), (uid,) = oet.proxy.RunScript("file://good.py")
        recorder.wait_for("longRunningCommandStatus", lambda told: pairs(told).get(uid) == "COMPLETED")
        arrivals = list(recorder.arrivals)
        result = next(at for at, (name, event) in enumerate(arrivals) if "Result" in name and uid in event.value)
        done = next(
            at
            for at, (name, event) in enumerate(arrivals)
            if "Status" in name and pairs(event.value).get(uid) == "COMPLETED"
        )
        assert result < done
    finally:
        recorder.close()


def test_a_command_goes_from_one_list_to_the_next(oet, gated, tmp_path):
    prepared = Told()
    uid = prepared.ask(oet.proxy, "PrepareScript", gated(waits=True))
    wait_until(lambda: uid in str(oet.proxy.lrcExecuting), what="it is under way")
    (executing,) = map(json.loads, oet.proxy.lrcExecuting)
    assert set(executing) == {"uid", "name", "submitted_time", "started_time"}
    start = {"process_uid": int(uid.split("_")[1]), "force_start": True}
    (_,), (waiting,) = oet.proxy.StartScript(json.dumps(start))
    assert [json.loads(each)["uid"] for each in oet.proxy.lrcQueue] == [waiting]
    (queued,) = map(json.loads, oet.proxy.lrcQueue)
    assert set(queued) == {"uid", "name", "submitted_time"}
    assert list(oet.proxy.longRunningCommandInProgress) == ["PrepareScript"]
    own = {uid: "PrepareScript", waiting: "StartScript"}

    def are_in_queue() -> bool:  # beside others, which leave the lists some time behind their ends
        ids, names = oet.proxy.longRunningCommandIDsInQueue, oet.proxy.longRunningCommandsInQueue
        return len(ids) == len(names) and own.items() <= dict(zip(ids, names, strict=True)).items()

    wait_until(are_in_queue, what="both are in the queue")
    (tmp_path / "init").touch()
    (tmp_path / "go").touch()
    wait_until(lambda: len(oet.proxy.lrcFinished) and waiting in oet.proxy.lrcFinished[-1], what="both have finished")
    assert not len(oet.proxy.lrcQueue)
    assert not len(oet.proxy.lrcExecuting)
    first, second = map(json.loads, oet.proxy.lrcFinished[-2:])
    assert [first["uid"], second["uid"]] == [uid, waiting]
    assert set(second) == {
        *("uid", "name", "submitted_time", "started_time", "finished_time", "progress", "status", "result"),
    }
    assert (second["name"], second["status"], second["result"]) == (
        "StartScript",
        "COMPLETED",
        [0, "Command Completed"],
    )
    for command in (first, second):
        assert UID.fullmatch(command["uid"])
        times = [datetime.fromisoformat(command[f"{what}_time"]) for what in ("submitted", "started", "finished")]
        assert times == sorted(times)
        assert all(each.utcoffset() == timedelta(0) for each in times)
        submitted = datetime.fromtimestamp(float(command["uid"].split("_")[0]), timezone.utc)
        assert abs(submitted - times[0]) < timedelta(milliseconds=1)


def test_there_is_one_event_of_the_finished_ones_for_each_that_finishes(oet: Oet):
    recorder = EventRecorder(oet.proxy, ("lrcFinished",))
    try:
        uids = [Told().ask(oet.proxy, "PrepareScript", "file://good.py") for _ in range(5)]
        recorder.wait_for("lrcFinished", lambda told: all(uid in str(told) for uid in uids))
        oet.proxy.RunScript("file://good.py")
        wait_until(lambda: len(recorder.events["lrcFinished"]) >= 7, what="six have finished")
        oet.settle()
        newest = [event.value[-1] for event in recorder.events["lrcFinished"][1:]]
        assert len(newest) == len(set(newest)) == 6
    finally:
        recorder.close()


def test_what_is_asked_for_in_plain_words_is_no_long_running_command(oet):
    names = ("_lrcEvent", "lrcFinished", "lrcQueue", "lrcExecuting", "longRunningCommandStatus")
    recorder = EventRecorder(oet.proxy, names)
    try:
        plain = oet.run("good.py")
        oet.recorder.wait_for_end(plain)
        (_,), (uid,) = oet.proxy.RunScript("file://good.py")  # behind which nothing more is to come
        recorder.wait_for("lrcFinished", lambda told: len(told) and uid in told[-1])
        assert not any(f"_{plain}_" in str(event.value) for _, event in list(recorder.arrivals))
    finally:
        recorder.close()


@pytest.mark.long
def test_protocol_1_shows_what_has_finished_for_ten_seconds(oet):
    recorder = EventRecorder(oet.proxy, ("longRunningCommandStatus", "longRunningCommandIDsInQueue"))
    try:
        (_,), (uid,) = oet.proxy.RunScript("file://good.py")
        recorder.wait_for("longRunningCommandStatus", lambda told: pairs(told).get(uid) == "COMPLETED")
        recorder.wait_for("longRunningCommandIDsInQueue", lambda told: uid in told)
        uids = "longRunningCommandIDsInQueue"
        wait_until(lambda: uid not in recorder.newest[uids].value, 30, "it is not shown any more")
        gone = recorder.newest[uids].received
        ended = json.loads(oet.proxy.lrcFinished[-1])["finished_time"]
        assert gone - datetime.fromisoformat(ended).timestamp() > 9
        assert uid not in pairs(oet.proxy.longRunningCommandStatus)
        assert oet.proxy.CheckLongRunningCommandStatus(uid) == "COMPLETED"
    finally:
        recorder.close()


def test_one_more_than_there_may_be_is_rejected_and_an_abort_is_not(oet, gated, tmp_path):
    uid = oet.prepare("slow_init.py", 60)
    oet.recorder.wait_for_state(uid, "INITIALISING")
    others = [oet.prepare("slow_init.py", 60) for _ in range(15)]
    codes = []
    for procedure in (uid, *others):
        start = json.dumps({"process_uid": procedure, "fn_name": "nap", "force_start": True})
        codes += [int(oet.proxy.StartScript(start)[0][0]) for _ in range(16)]
    assert codes == [2] * 256
    (code,), (reason,) = oet.proxy.RunScript("file://good.py")
    assert (code, reason.split(":")[0]) == (5, "OET_TooMany")
    assert len(oet.proxy.lrcQueue) == 256
    (code,), (aborting,) = oet.proxy.Abort()
    assert code == 1
    wait_until(lambda: oet.proxy.CheckLongRunningCommandStatus(aborting) == "COMPLETED", 60, "all were aborted")
    assert len(oet.proxy.lrcFinished) == 100
    assert not len(oet.proxy.lrcQueue)


def test_a_reader_of_events_as_the_tracer_of_the_harness_has_every_kind_of_every_attribute(oet):
    """TangoEventTracer subscribes to whatever it is told of; the first event is the value that stands."""
    kinds = (tango.EventType.CHANGE_EVENT, tango.EventType.ARCHIVE_EVENT, tango.EventType.ALARM_EVENT)
    names = list(oet.proxy.get_attribute_list())
    # Protocol 1 shows what has finished for ten seconds: what is read below is to be what is subscribed to here.
    wait_until(lambda: not len(oet.proxy.longRunningCommandStatus), 30, "what has finished is not shown any more")
    recorders = [EventRecorder(oet.proxy, tuple(names), kind) for kind in kinds]
    try:
        for recorder in recorders:
            assert recorder.errors() == []
            for name in names:
                first, read = recorder.events[name][0].value, oet.proxy.read_attribute(name).value
                if name not in ("Status", "procedures", "procedureTable"):
                    assert str(first) == str(read), name
        prepared = {"script": filesystem("good.py")}
        (_,), (uid,) = oet.proxy.RunScript(json.dumps(prepared))
        for recorder in recorders:
            recorder.wait_for("_lrcEvent", lambda told: len(told) and told[0] == uid and "result" in told[1])
            recorder.wait_for("lrcFinished", lambda told: len(told) and uid in told[-1])
            recorder.wait_for("longRunningCommandResult", lambda told: told[0] == uid)
    finally:
        for recorder in recorders:
            recorder.close()


@pytest.mark.long
def test_in_a_flood_each_end_has_a_push_of_its_own_and_each_result_is_told(oet):
    """What is accepted is told at once, and must not take with it the ends that still wait for the history."""
    recorder = EventRecorder(oet.proxy, ("lrcFinished", "longRunningCommandResult"))
    accepted: list[str] = []

    def ask() -> None:
        with tango.EnsureOmniThread():
            for _ in range(40):
                (code,), (uid,) = oet.proxy.PrepareScript("file://raises_at_import.py")
                if code == ACCEPTED[1]:
                    accepted.append(uid)

    try:
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert accepted

        def ends() -> list[set[str]]:
            return [{json.loads(each)["uid"] for each in value or ()} for value in recorder.values("lrcFinished")]

        def results() -> set[str]:
            return {result[0] for result in recorder.values("longRunningCommandResult")}

        wait_until(lambda: set(accepted) <= results(), 60, "each result is told")
        wait_until(lambda: set(accepted) <= set().union(*ends()), 60, "each end is told")
        new = [after - before for before, after in pairwise(ends())]
        # None is new: what was read first may be ahead of what is told.
        assert [each for each in new if len(each) > 1] == [], recorder.errors()
    finally:
        recorder.close()
