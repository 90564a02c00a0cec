"""The event bus and its topics."""

from . import topics
from .bus import (
    ALL_TOPICS,
    AUTO_TOPIC,
    Bus,
    define_script_topics,
    is_relayed,
    prepare_script_bus,
    publish_from_script,
    publish_to_script,
    topic_name,
)

__all__ = [
    "ALL_TOPICS",
    "AUTO_TOPIC",
    "Bus",
    "define_script_topics",
    "is_relayed",
    "prepare_script_bus",
    "publish_from_script",
    "publish_to_script",
    "topic_name",
    "topics",
]
