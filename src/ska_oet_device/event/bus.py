"""The event bus: publish and subscribe within one process.  The only user of pypubsub.

A device has a `Bus` of its own, so that nothing of one device reaches another.  A worker, which
serves one script alone, uses pypubsub's default publisher: the one that the script finds under
``from pubsub import pub``.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from pubsub import core, pub

from . import topics

_log = logging.getLogger(__name__)

_default = pub.getDefaultPublisher()
"""pypubsub's default publisher: a script that has pypubsub imported anew has another one."""

ALL_TOPICS = core.ALL_TOPICS
AUTO_TOPIC = core.AUTO_TOPIC


class _LogListenerFailure(core.IListenerExcHandler):
    """A listener may not harm the publisher or its neighbours."""

    def __call__(self, listenerID: str, topicObj: Any) -> None:  # noqa: N803 - pypubsub's names
        _log.exception("listener %s of topic %s failed", listenerID, topicObj.getName())


class _NoteSubscription(core.INotificationHandler):
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def notifySubscribe(self, pubListener: Any, topicObj: Any, newSub: bool) -> None:  # noqa: N802, N803
        self._callback()


class Bus:
    """Topics, publishers and listeners of one device.

    Listeners run in the thread that publishes, and are held weakly: the subscriber keeps them
    alive.  One that raises is logged, and the others are called all the same.
    """

    def __init__(self) -> None:
        self._publisher = core.Publisher()
        self._publisher.getTopicMgr().addDefnProvider(topics, core.TOPIC_TREE_FROM_CLASS)
        self._publisher.setTopicUnspecifiedFatal(True)
        self._publisher.setListenerExcHandler(_LogListenerFailure())
        self._topics: dict[type, Any] = {}

    def publish(self, topic: type, /, **data: Any) -> None:
        """Send a message and return when every listener has been called.

        :raises pubsub.core.TopicDefnError: there is no such topic
        :raises pubsub.core.SenderMissingReqdMsgDataError: data that the topic demands is missing
        :raises pubsub.core.SenderUnknownMsgDataError: data that the topic does not have
        """
        found = self._topics.get(topic)  # pypubsub would look it up by its name: a tenth of what a message costs
        if found is None:
            found = self._topics[topic] = self._publisher.getTopicMgr().getOrCreateTopic(topic_name(topic))
        found.publish(**data)

    def subscribe(self, listener: Callable[..., None], topic: type) -> None:
        """Call `listener` with the data of every message on `topic`.

        :raises pubsub.core.ListenerMismatchError: the listener's parameters do not fit the topic
        """
        self._publisher.subscribe(listener, topic_name(topic))

    def is_heard(self, topic: type) -> bool:
        """Say whether anybody listens to `topic`."""
        found = self._publisher.getTopicMgr().getTopic(topic_name(topic), okIfNone=True)
        return found is not None and bool(found.hasListeners())

    def unsubscribe(self, listener: Callable[..., None], topic: type) -> None:
        self._publisher.unsubscribe(listener, topic_name(topic))


def topic_name(topic: type) -> str:
    """Return the dotted name under which a class of the topic tree is known to pypubsub."""
    return topic.__qualname__


@functools.cache
def define_script_topics() -> None:
    """Define this program's topics on pypubsub's default publisher; a script may add its own without ado.

    Once for each process, and for all that are forked from it.
    """
    provider = pub.addTopicDefnProvider(topics, core.TOPIC_TREE_FROM_CLASS)
    pub.instantiateAllDefinedTopics(provider)


_is_relayed = False


def is_relayed() -> bool:
    """Say whether what is published here leaves the process: it is a worker, or was forked from one."""
    return _is_relayed


def prepare_script_bus(listener: Callable[..., None], on_subscription: Callable[[], None]) -> None:
    """Set up pypubsub's default publisher in a worker.

    :param listener: called with every message of whatever topic, also after the script has unsubscribed all; must be
        kept alive by the caller
    :param on_subscription: called whenever something subscribes after this
    """
    global _is_relayed
    _is_relayed = True
    define_script_topics()
    pub.setListenerExcHandler(_LogListenerFailure())
    pub.subscribe(listener, ALL_TOPICS)
    _keep(pub.getDefaultTopicMgr().getTopic(ALL_TOPICS), listener)
    pub.addNotificationHandler(_NoteSubscription(on_subscription))
    pub.setNotificationFlags(subscribe=True)


def _keep(topic: Any, listener: Callable[..., None]) -> None:
    """Let the listener stay when a script unsubscribes all, such as its own of an earlier call.

    A script means its own listeners: it cannot know of this one.
    """
    unsubscribe, unsubscribe_all = topic.unsubscribe, topic.unsubscribeAllListeners

    def unsubscribe_others(filter: Callable[[Any], bool] | None = None) -> Any:
        return unsubscribe_all(lambda each: each != listener and (filter is None or filter(each)))

    topic.unsubscribe = lambda each: None if each == listener else unsubscribe(each)
    topic.unsubscribeAllListeners = unsubscribe_others


def publish_to_script(topic: str, data: dict[str, Any]) -> None:
    """Publish a message that came from outside on a worker's default publisher."""
    pub.sendMessage(topic, **data)


def publish_from_script(topic: type, /, **data: Any) -> None:
    """Publish a message of this program's topics on the default publisher, as a script would."""
    _default.sendMessage(topic_name(topic), **data)
