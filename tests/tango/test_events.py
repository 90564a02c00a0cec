"""What clients can rely on: order, completeness, and that the device shows what an event tells."""

import json
import threading

import tango
from support.tango_server import EventRecorder
from support.waiting import wait_until


def test_every_change_is_pushed_once_in_order_and_none_is_merged(oet):
    start = oet.proxy.lifecycleSequence
    uids = [oet.prepare("good.py") for _ in range(5)]
    for uid in uids:
        oet.recorder.wait_for_state(uid, "READY", 20)
    for uid in uids:
        oet.start(uid)
        oet.recorder.wait_for_end(uid)
    oet.settle()
    pushed = oet.recorder.lifecycle()
    assert [event["sequence"] for event in pushed] == list(range(start + 1, start + 1 + 5 * 9))
    assert pushed == json.loads(oet.proxy.LifecycleEvents(start))
    numbers = [
        number for number in oet.recorder.values("lifecycleSequence") if number > start
    ]  # older ones may be repeated
    assert numbers == [event["sequence"] for event in pushed]


def test_each_event_follows_from_the_one_before(oet):
    uid = oet.run("good.py")
    oet.recorder.wait_for_end(uid)
    events = oet.recorder.lifecycle(uid)
    assert [event["previous"] for event in events] == [None, *[event["state"] for event in events[:-1]]]
    assert {event["run_id"] for event in events} == {oet.summary(uid)["run_id"]}
    assert set(events[0]) == {"sequence", "process_uid", "run_id", "previous", "state", "time", "reason"}


def test_an_event_is_in_the_history_before_it_is_pushed_and_the_device_shows_it(oet):
    """A client that reads at each event, in a thread of its own, never sees something older than the event."""
    proxy = tango.DeviceProxy(oet.url)
    arrived, faults, done = [], [], threading.Event()

    def look(data):
        # Reading in the callback itself: nothing is closer to the event.
        event = json.loads(data.attr_value.value) if not data.err else {}
        if not event or done.is_set():
            return
        arrived.append(event["sequence"])
        known = json.loads(proxy.LifecycleEvents(event["sequence"] - 1))
        if not known or known[0] != event:
            faults.append(("history", event, known[:1]))
        if proxy.lifecycleSequence < event["sequence"]:
            faults.append(("lifecycleSequence", event))
        (summary,) = json.loads(proxy.Summarise([event["process_uid"]]))
        if [event["state"], event["time"]] not in summary["history"]["process_states"]:
            faults.append(("Summarise", event, summary))
        entered = next(
            state["history"]["process_states"]
            for state in json.loads(proxy.procedures)
            if state["id"] == event["process_uid"]
        )
        if [event["state"], event["time"]] not in entered:
            faults.append(("procedures", event))

    subscription = proxy.subscribe_event("lifecycleEvent", tango.EventType.CHANGE_EVENT, look)
    try:
        for _ in range(3):
            uid = oet.run("good.py")
            oet.recorder.wait_for_end(uid)
        newest = oet.proxy.lifecycleSequence
        oet.recorder.wait_for("lifecycleSequence", lambda value: value == newest)
        wait_until(lambda: arrived and arrived[-1] == newest, 20, "the slow client has every event")
    finally:
        done.set()
        proxy.unsubscribe_event(subscription)
    assert faults == []


def test_state_attributes_read_after_an_event_show_it(oet):
    for _ in range(5):
        uid = oet.running("sleepy.py")
        assert oet.proxy.State() == tango.DevState.RUNNING
        assert oet.proxy.activeProcedureId == uid
        assert list(oet.proxy.procedureStates)[-1] == "RUNNING"
        oet.stop(uid)
        oet.recorder.wait_for_end(uid)
        assert oet.proxy.State() == tango.DevState.ON
        oet.recorder.clear()


def test_two_clients_get_the_same_events(oet):
    second = EventRecorder(tango.DeviceProxy(oet.url), ("lifecycleEvent", "lifecycleSequence"))
    try:
        second.clear()
        uid = oet.run("good.py")
        oet.recorder.wait_for_end(uid)
        second.wait_for_end(uid)
        assert second.lifecycle(uid) == oet.recorder.lifecycle(uid)
    finally:
        second.close()


def test_events_do_not_wait_for_commands_of_others(oet):
    """While four clients call without pause, changes reach their listener, and not only when there is a pause."""
    stop = threading.Event()

    def call_without_pause():
        with tango.EnsureOmniThread():
            proxy = tango.DeviceProxy(oet.url)
            proxy.set_timeout_millis(30_000)  # four of them keep the machine busy
            while not stop.is_set():
                proxy.Summarise([])

    callers = [threading.Thread(target=call_without_pause) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        delays = []
        for _ in range(5):
            uid = oet.run("good.py")
            oet.recorder.wait_for_end(uid, 20)
        for event in list(oet.recorder.events["lifecycleEvent"]):
            delays.append(event.received - event.time)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert len(delays) == 45
    assert sorted(delays)[len(delays) // 2] < 5  # seconds; what waits for the callers comes when they have ended


def test_the_lists_of_procedures_come_behind_the_event_and_what_is_small(oet):
    oet.recorder.clear()
    oet.recorder.wait_for_end(oet.run("good.py"))
    oet.settle()
    names = [name for name, _ in oet.recorder.arrivals]
    last = len(names) - 1 - names[::-1].index("procedures")
    assert "lifecycleEvent" not in names[last:]
    assert last > max(index for index, name in enumerate(names) if name == "activeProcedureState")
    assert names.count("procedures") <= names.count("lifecycleEvent")


def test_procedures_has_long_arguments_shortened_and_summarise_has_them_whole(oet):
    uid = oet.run("raises.py", "x" * 100_000)
    oet.recorder.wait_for_end(uid)
    oet.settle()
    text = oet.recorder.values("procedures")[-1]
    told = {call["fn"]: call["fn_args"] for call in json.loads(text)[-1]["script_args"]}
    whole = {call["fn"]: call["fn_args"] for call in oet.summary(uid)["script_args"]}
    assert whole["main"]["args"] == ["x" * 100_000]
    assert told["main"]["shortened"] == len(json.dumps(whole["main"]))
    assert told["main"]["args"][0].startswith("xxx")
    assert len(json.dumps(told)) < 2048


def test_a_client_that_knows_a_number_without_its_event_is_told_by_a_repetition(oet):
    """What is pushed while Tango makes a client's connection reaches nobody; what says how things stand comes again."""
    arrived = []
    subscription = oet.proxy.subscribe_event(
        "lifecycleSequence", tango.EventType.CHANGE_EVENT, lambda data: arrived.append(data.attr_value.value)
    )
    try:
        oet.recorder.wait_for_end(oet.run("good.py"))  # behind the subscription: it is repeated but twice
        newest = oet.proxy.lifecycleSequence
        wait_until(lambda: arrived.count(newest) > 1, 20, "the number comes once more")
        assert arrived == sorted(arrived)
    finally:
        oet.proxy.unsubscribe_event(subscription)
