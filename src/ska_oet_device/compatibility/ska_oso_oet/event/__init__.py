"""The topics on which SKA's scripts publish, defined on pypubsub's default publisher.

A message with data that its topic does not have, or without what the topic demands, raises as with the OET itself.  A
topic that this program defines as well keeps this program's definition.
"""

from pubsub import pub

from . import topics

__all__ = ["topics"]

pub.instantiateAllDefinedTopics(pub.addTopicDefnProvider(topics, pub.TOPIC_TREE_FROM_CLASS))
