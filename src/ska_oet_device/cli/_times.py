"""Times as people write and read them: local, or UTC."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

import typer

_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(s|sec|m|min|h|d|w)", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_FORMS = "2026-11-30T20:00, 2026-11-30, 20:00 (today), today, yesterday, now, or 90s, 30min, 2h, 3d, 1w ago"


def time_of(text: str, *, utc: bool, now: float | None = None) -> float:
    """Return what a text means, in Unix seconds.

    :param utc: whether a time without an offset is UTC; else it is local
    :raises typer.BadParameter: it is no time
    """
    now = time.time() if now is None else now
    text = text.strip()
    ago = _AGO.fullmatch(text.removesuffix(" ago"))
    if ago:
        return now - float(ago[1]) * _SECONDS[ago[2].lower()]
    here = datetime.fromtimestamp(now, timezone.utc)
    moment = here.replace(tzinfo=None) if utc else here.astimezone().replace(tzinfo=None)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    words = {"now": moment, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    try:
        found = words[text.lower()] if text.lower() in words else _from_iso(text, midnight)
        if found.tzinfo is None and utc:
            found = found.replace(tzinfo=timezone.utc)
        return found.timestamp()
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(f"{text!r} is no time; a time is {_FORMS}") from None


def _from_iso(text: str, midnight: datetime) -> datetime:
    if _CLOCK.fullmatch(text):
        hour, minute, *second = map(int, text.split(":"))
        return midnight.replace(hour=hour, minute=minute, second=second[0] if second else 0)
    return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))


def day_and_time(seconds: float, *, utc: bool) -> str:
    """Return a time with its day: `2026-11-30 20:00:00`, with a Z if it is UTC."""
    return _format(seconds, "%Y-%m-%d %H:%M:%S", utc=utc)


def time_of_day(seconds: float, *, utc: bool) -> str:
    """Return a time without its day: `20:00:00`, with a Z if it is UTC."""
    return _format(seconds, "%H:%M:%S", utc=utc)


def _format(seconds: float, form: str, *, utc: bool) -> str:
    return time.strftime(form, time.gmtime(seconds)) + "Z" if utc else time.strftime(form, time.localtime(seconds))
