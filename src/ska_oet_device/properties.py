"""The device properties: one table, and the one rule by which their texts become settings.

Pure: no Tango, no files, no clock.  Whoever reads the database hands over what it said.
"""

from __future__ import annotations

import dataclasses
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .config import HISTORY_URL_VARIABLE, LONGEST_PATH, LONGEST_TIME, MOST_DAYS, Settings, size_in_bytes, truth_of

Texts = Mapping[str, Sequence[str]]
"""What a database holds: the elements of each property that is set; one that is not set is missing, or empty."""

MOST_PROCEDURES = 100_000
"""That attributes can show: HistoryLength, and the rows of a spectrum."""

_LARGEST_SIZE = 10**15  # bytes
_LONGEST_URL = 1024  # characters
_SHOWN = 80  # characters of a value in a sentence
_DEFAULTS = Settings()

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_REPOSITORIES = re.compile(r"(https?|git)://[^@\s]*|(ssh|file)://\S*|[\w.-]+@[\w.-]+:\S*", re.ASCII)
# An "@" or ":" in a password would be taken for what follows it, and be told as a host that nobody knows.
_DATABASE_URL = re.compile(r"\w+(\+\w+)?://([^:/?@]*(:[^@]*)?@)?(\[[^]/?@]*\]|[^/?@:\[]*)(:\d*)?([/?].*)?", re.ASCII)
_CREDENTIALS = re.compile(r"""://[^\s'"]*@""")


@dataclass(frozen=True)
class Property:
    """One device property.

    :param name: its name, in PascalCase; the field of `Settings` has the same name in snake_case
    :param kind: the Python type that tools are told
    :param doc: what it means, for tools
    :param rule: what a value (of several: each) has to be; completes "... is not"
    :param parse: returns the value of a text, None if it breaks the rule
    :param several: whether it has any number of values
    :param shown_default: the default as tools are told; None: as `Settings` has it
    """

    name: str
    kind: type
    doc: str
    rule: str
    parse: Callable[[str], Any]
    several: bool = False
    shown_default: str | None = None

    @property
    def field(self) -> str:
        """The field of `Settings`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    @property
    def default(self) -> Any:
        """The value where the property is not set."""
        return 0 if self.name == "SubarrayId" else getattr(_DEFAULTS, self.field)


class _BadValueError(ValueError):
    """A value breaks the rule of its property; the text says which."""


def settings_from(texts: Texts, before: Settings, subarray_id: int) -> tuple[Settings, list[str]]:
    """Return the settings that the properties' texts say, and a sentence for each that breaks its rule.

    :param texts: what the database says
    :param before: the settings so far, from which a property with a bad value keeps its own
    :param subarray_id: the subarray's number where SubarrayId says none
    """
    values, problems = {}, []
    for item in PROPERTIES:
        elements = list(texts.get(item.name, ()))
        try:
            value = _value(item, elements)
            values[item.field] = item.default if value is None else value
        except _BadValueError as error:
            kept = getattr(before, item.field)
            values[item.field] = kept
            problems.append(f"Property {item.name}: {error}; {_shown(kept)} stays in use.")
    settings = Settings(**values)
    return settings if settings.subarray_id else dataclasses.replace(settings, subarray_id=subarray_id), problems


def _value(item: Property, elements: list[str]) -> Any:
    """Return the value of a property; None where it is not set."""
    if not elements:
        return None
    # An empty text is no value: the only way to say "none" in a database that cannot hold an empty list.
    given = [text for text in elements if text.strip()]
    if item.several:
        return tuple(_parsed(item, text) for text in given)
    if len(given) > 1:
        raise _BadValueError(f"{_shown(tuple(given))} has {len(given)} values; it is to be {item.rule}")
    return _parsed(item, given[0]) if given else None


def _parsed(item: Property, text: str) -> Any:
    value = item.parse(text)
    if value is None:
        raise _BadValueError(f"{_shown(text)} is not {item.rule}")
    return value


def _shown(value: Any) -> str:
    """Return a value as a sentence shows it: short, on one line, without passwords."""
    text = _CREDENTIALS.sub("://***@", repr(list(value) if isinstance(value, tuple) else value))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} ... {text[-_SHOWN // 4 :]}"


def history_url_in(text: str) -> tuple[str, str]:
    """Return the URL that OET_HISTORY_URL names, empty if none, and a sentence on what is wrong with it.

    The sentence does not show the value: what is no URL may be a password.
    """
    if not text.strip():
        return "", ""
    url = _database_url(text)
    if url is not None:
        return url, ""
    return "", (
        f"The environment variable {HISTORY_URL_VARIABLE} is not {BY_NAME['HistoryUrl'].rule}, in which a password "
        "has its special characters as %40 and the like; it is not used."
    )


def number_in(device: str) -> int | None:
    """Return the subarray that a device's member names, as 1 in mid-oet/subarray/01; None if it is no number."""
    member = device.rpartition("/")[2]
    return int(member) if re.fullmatch(r"\d{1,9}", member, re.ASCII) else None


# -- the forms of values; each function returns None for a text that does not have the form


def _number(lowest: float, highest: float) -> Callable[[str], float | None]:
    def parse(text: str) -> float | None:
        if not _NUMBER.fullmatch(text.strip()):
            return None
        value = float(text)
        return value if lowest <= value <= highest else None

    return parse


def _whole_number(lowest: int, highest: int) -> Callable[[str], int | None]:
    def parse(text: str) -> int | None:
        if not _WHOLE_NUMBER.fullmatch(text.strip()):
            return None
        value = int(text)
        return value if lowest <= value <= highest else None

    return parse


def _size(text: str) -> int | None:
    try:
        value = size_in_bytes(text)
    except (ValueError, OverflowError):
        return None
    return value if value <= _LARGEST_SIZE else None


def _path(text: str) -> str | None:
    fits = text.startswith("/") and text.isprintable() and len(text.encode(errors="replace")) <= LONGEST_PATH
    return text if fits else None


def _script(text: str) -> str | None:
    uri = text.strip()
    return uri if uri.startswith("file://") and uri.isprintable() and len(uri) <= LONGEST_PATH else None


def _repositories(text: str) -> str | None:
    prefix = text.strip()
    return prefix if len(prefix) <= _LONGEST_URL and _REPOSITORIES.fullmatch(prefix) else None


def _database_url(text: str) -> str | None:
    url = text.strip()
    return url if len(url) <= _LONGEST_URL and url.isprintable() and _DATABASE_URL.fullmatch(url) else None


def _running_state(text: str) -> str | None:
    state = text.strip().upper()
    return state if state in ("RUNNING", "ON") else None


def _module(text: str) -> str | None:
    name = text.strip()
    parts = name.split(".")
    fits = len(name) <= _LONGEST_URL and all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)
    return name if fits else None


# -- the table


def _seconds(name: str, doc: str) -> Property:
    rule = f"a number of seconds from 0 to {LONGEST_TIME:,}"
    return Property(name, float, doc, rule, _number(0, LONGEST_TIME))


def _days(name: str, doc: str) -> Property:
    return Property(name, float, doc, f"a number of days from 0 to {MOST_DAYS:,}", _number(0, MOST_DAYS))


def _count(name: str, doc: str, lowest: int, highest: int) -> Property:
    rule = f"a whole number from {lowest} to {highest:,}"
    return Property(name, int, doc, rule, _whole_number(lowest, highest))


def _bytes(name: str, doc: str, shown_default: str) -> Property:
    rule = "a size from 0 to 1,000,000 GB, such as 512 MiB or 20 GB"
    return Property(name, str, doc, rule, _size, shown_default=shown_default)


_PATH_RULE = f"an absolute path of at most {LONGEST_PATH:,} bytes"

PROPERTIES = (
    Property("ScriptRoots", str, "Folders below which file:// scripts may live", _PATH_RULE, _path, several=True),
    Property(
        "GitRepositories",
        str,
        "URL prefixes that git scripts may come from; one empty text: none",
        "what a repository's URL begins with, such as https://host/group/ (https, http, ssh, git, file, or user@host:)",
        _repositories,
        several=True,
    ),
    _count("SubarrayId", "The subarray that scripts are given; 0: from the device's name", 0, 2**31 - 1),
    Property(
        "AbortScript",
        str,
        "Script URI of the second phase of a stop",
        "the URI of a script on the file system, such as file://abort.py",
        _script,
    ),
    _seconds("StopGracePeriod", "Seconds from SIGTERM to SIGKILL"),
    _seconds("LoadTimeout", "Seconds for loading; 0: none"),
    _seconds("InitTimeout", "Seconds for init; 0: none"),
    _seconds("EnvironmentTimeout", "Seconds for making an environment; 0: none"),
    _seconds("RunTimeout", "Seconds for a running function; 0: none"),
    _count("MaxProcedures", "Procedures alive at once", 1, 10_000),
    _count("HistoryLength", "Ended procedures kept in the attributes", 0, MOST_PROCEDURES),
    _count("SpareWorkers", "Processes forked ahead of need", 0, 64),
    Property("Preload", str, "Modules that workers find imported", "the name of a module", _module, several=True),
    _bytes("MaxMemory", "What a process of a script may allocate, such as 512 MiB; 0: no limit", "0"),
    _bytes("MaxOutput", "How much of a procedure's output is kept; 0: all of it", "64 MiB"),
    Property(
        "AlarmOnFailure",
        bool,
        "Whether State is ALARM from a procedure's failure to the next start",
        "true or false",
        truth_of,
    ),
    Property(
        "StateWhileRunning",
        str,
        "State while a procedure is RUNNING: RUNNING, or ON, as the state model of the SKA has it",
        "RUNNING or ON",
        _running_state,
    ),
    Property(
        "OetCompatibility",
        bool,
        "Whether scripts find the topics of ska_oso_oet where that is not installed",
        "true or false",
        truth_of,
    ),
    Property(
        "HistoryUrl",
        str,
        "SQLAlchemy URL of the durable history; read when the server starts",
        "the URL of a database, such as postgresql://host/name",
        _database_url,
    ),
    _days("HistoryDays", "Days that the durable history keeps; 0: for ever"),
    Property(
        "GitTokenFile",
        str,
        "File with tokens for git servers, for https; empty: git's ordinary means",
        _PATH_RULE,
        _path,
    ),
    _days("EnvironmentDays", "Days an unused environment is kept; 0: for ever"),
    _bytes("EnvironmentQuota", "Size of all environments, beyond which unused ones go; 0: no limit", "20 GB"),
    Property(
        "StateDirectory",
        str,
        "Folder of the history and of scripts' output; read when the server starts",
        _PATH_RULE,
        _path,
    ),
)
"""All device properties, in the order of the contract."""

BY_NAME = {item.name: item for item in PROPERTIES}
