"""What an observing script may import.  It need not: a script is any Python file with a `main`.

``topics`` holds the topics of this program, for ``pub.subscribe(listener, topic)`` of pypubsub.
"""

from __future__ import annotations

import math

from .event import publish_from_script, topics

__all__ = ["report_progress", "topics"]


def report_progress(percent: float, activity: str = "") -> None:
    """Tell the device, and so every client, how far the script has come.

    Clients see it in the attributes activeProgress and activeActivity.  Returns at once.  Where
    no device is executing the script, in a test or in a shell, nobody is told.

    :param percent: from 0 to 100
    :param activity: what the script is doing, in a few words
    :raises ValueError: percent is no number from 0 to 100
    """
    try:
        number = float(percent)
    except (TypeError, ValueError):
        number = math.nan
    if not 0.0 <= number <= 100.0:  # NaN lies nowhere
        raise ValueError(f"percent is {percent!r}; it must be a number from 0 to 100")
    publish_from_script(topics.script.progress, percent=number, activity=str(activity))
