"""The event bus of a device, and the topics on it."""

from __future__ import annotations

import gc
import inspect

import pytest
from pubsub import core
from support.forked import in_a_child

from ska_oet_device.event import Bus, prepare_script_bus, publish_to_script, topic_name, topics

# Every topic, with what a message on it must carry and what it may.
DOCUMENTED = {
    "procedure.lifecycle.statechange": ("message", ""),
    "procedure.lifecycle.loaded": ("message", ""),
    "procedure.lifecycle.delayed": ("message", ""),
    "procedure.lifecycle.acknowledged": ("number", ""),
    "procedure.lifecycle.progress": ("msg_src progress time", ""),
    "procedure.lifecycle.recorded": ("msg_src change", ""),
    "procedure.management.create": ("msg_src load", ""),
    "procedure.management.run": ("msg_src call run_args force_start", "after"),
    "procedure.management.stop": ("msg_src", "reason"),
    "procedure.management.context": ("context", ""),
    "procedure.command.updated": ("update", ""),
    "procedure.check.create": ("check", ""),
    "procedure.check.done": ("message", ""),
    "procedure.check.reported": ("report", ""),
    "operator.wait_for_qa_ready.enable": ("msg_src", ""),
    "operator.wait_for_qa_ready.disable": ("msg_src", ""),
    "operator.wait_for_qa_ready.override": ("msg_src", ""),
    "operator.override.state": ("msg_src wait_for_qa_ready", ""),
    "script.progress": ("percent activity", ""),
    "script.message": ("msg_src topic data time", "payload"),
    "supervisor.health": ("problems", ""),
    "supervisor.lost": ("reason", ""),
}


def topic_classes(parent: object = topics) -> list[type]:
    children = [child for child in vars(parent).values() if inspect.isclass(child)]
    return children + [deeper for child in children for deeper in topic_classes(child)]


LEAVES = [topic for topic in topic_classes() if hasattr(topic, "msgDataSpec")]


class Listener:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def __call__(self, msg_src: object, reason: str = "") -> None:
        self.heard.append(msg_src)


STOP = topics.procedure.management.stop


class TestTopics:
    def test_are_those_that_are_documented(self):
        assert {topic_name(topic) for topic in LEAVES} == set(DOCUMENTED)

    @pytest.mark.parametrize("topic", LEAVES, ids=topic_name)
    def test_carry_what_is_documented_and_say_what_it_means(self, topic):
        required, optional = (set(names.split()) for names in DOCUMENTED[topic_name(topic)])
        parameters = inspect.signature(topic.msgDataSpec).parameters
        assert {name for name, found in parameters.items() if found.default is found.empty} == required
        assert {name for name, found in parameters.items() if found.default is not found.empty} == optional
        for name in parameters:
            assert f"- {name}:" in topic.msgDataSpec.__doc__
        assert topic.__doc__.strip()

    @pytest.mark.parametrize("topic", LEAVES, ids=topic_name)
    def test_can_be_published_on_the_bus(self, topic):
        required, _ = DOCUMENTED[topic_name(topic)]
        heard = []

        def listener(**data: object) -> None:
            heard.append(data)

        bus = Bus()
        bus.subscribe(listener, topic)
        sent = dict.fromkeys(required.split(), "x")
        bus.publish(topic, **sent)
        assert sent.items() <= heard[0].items()


class TestBus:
    def test_calls_every_listener_of_the_topic_and_no_other(self):
        bus, one, two, other = Bus(), Listener(), Listener(), Listener()
        bus.subscribe(one, STOP)
        bus.subscribe(two, STOP)
        bus.subscribe(other, topics.operator.wait_for_qa_ready.enable)
        bus.publish(STOP, msg_src=3)
        assert (one.heard, two.heard, other.heard) == ([3], [3], [])

    def test_of_one_device_does_not_reach_another(self):
        one, other, listener = Bus(), Bus(), Listener()
        other.subscribe(listener, STOP)
        one.publish(STOP, msg_src=3)
        assert listener.heard == []
        other.publish(STOP, msg_src=4)
        assert listener.heard == [4]

    def test_says_no_to_a_topic_that_is_not_defined(self):
        class nothing:  # noqa: N801 - a topic's name
            pass

        with pytest.raises(core.TopicDefnError):
            Bus().publish(nothing)
        with pytest.raises(core.TopicDefnError):
            Bus().subscribe(lambda: None, nothing)

    def test_says_no_to_missing_and_unknown_data(self):
        bus, listener = Bus(), Listener()
        bus.subscribe(listener, STOP)
        with pytest.raises(core.SenderMissingReqdMsgDataError):
            bus.publish(STOP)
        with pytest.raises(core.SenderUnknownMsgDataError):
            bus.publish(STOP, msg_src=3, more=4)
        assert listener.heard == []

    def test_says_no_to_a_listener_that_does_not_fit(self):
        with pytest.raises(core.ListenerMismatchError):
            Bus().subscribe(lambda something_else: None, STOP)

    def test_a_listener_that_raises_harms_neither_the_publisher_nor_its_neighbours(self, caplog):
        bus, before, after = Bus(), Listener(), Listener()

        def broken(msg_src: object, reason: str = "") -> None:
            raise RuntimeError("broken listener")

        for listener in (before, broken, after):
            bus.subscribe(listener, STOP)
        bus.publish(STOP, msg_src=3)
        assert before.heard == after.heard == [3]
        assert "broken listener" in caplog.text

    def test_holds_listeners_weakly(self):
        bus, heard = Bus(), []

        def listener(msg_src: object, reason: str = "") -> None:
            heard.append(msg_src)

        bus.subscribe(listener, STOP)
        del listener
        gc.collect()
        bus.publish(STOP, msg_src=3)
        assert heard == []

    def test_does_not_call_who_has_unsubscribed(self):
        bus, listener = Bus(), Listener()
        bus.subscribe(listener, STOP)
        bus.unsubscribe(listener, STOP)
        bus.publish(STOP, msg_src=3)
        assert listener.heard == []

    def test_a_listener_may_publish(self):
        bus, listener = Bus(), Listener()

        def answer(msg_src: int, reason: str = "") -> None:
            bus.publish(topics.operator.wait_for_qa_ready.enable, msg_src=msg_src + 1)

        bus.subscribe(answer, STOP)
        bus.subscribe(listener, topics.operator.wait_for_qa_ready.enable)
        bus.publish(STOP, msg_src=3)
        assert listener.heard == [4]


class TestTheBusOfAScript:
    @in_a_child
    def test_is_pypubsubs_own_and_hears_all_and_notes_who_listens(self):
        from pubsub import pub

        heard, subscriptions = [], []

        def listener(topic: object = pub.AUTO_TOPIC, **data: object) -> None:
            heard.append((topic.getName(), data))

        def on_progress(percent: object, activity: object) -> None:
            pass

        prepare_script_bus(listener, lambda: subscriptions.append(1))
        pub.sendMessage("of.the.script", a=1)
        publish_to_script("script.progress", {"percent": 5, "activity": "slewing"})
        assert heard == [("of.the.script", {"a": 1}), ("script.progress", {"percent": 5, "activity": "slewing"})]
        assert subscriptions == []
        pub.subscribe(on_progress, "script.progress")
        assert subscriptions == [1]

    @in_a_child
    def test_lets_no_listener_harm_the_script_that_publishes(self):
        from pubsub import pub

        def nothing(**_: object) -> None:
            pass

        def broken(**_: object) -> None:
            raise RuntimeError

        prepare_script_bus(nothing, lambda: None)
        pub.subscribe(broken, "of.the.script")
        pub.sendMessage("of.the.script")
