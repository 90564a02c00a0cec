"""The engineer's board: every attribute, what the device keeps on record, and what is asked in JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...interface import InterfaceAttribute, interface
from . import _looks as looks
from . import _widgets as w
from ._layout import GAP, STEP, Column, Node, Row, Widget
from ._names import attribute

WIDTH = 1880
_HEADER = 50
_TITLE = 30
_LINE = 30
_TABLE = 90
_TEXT = 80
_PROCEDURES = 120
_COMMANDS = 50
_EVENTS = 280
_ANSWER = 300
_MENU = 40  # above the values of a menu
_VALUE = 32  # of a menu

# What has a place of its own.  All others follow in the order of the alphabet, so that a new one is there at once.
_LOGS = (("lifecycleEvent", "Lifecycle events"), ("scriptEvent", "Messages of scripts"))
_PRINTED = (("scriptOutput", "Output"), ("stacktrace", "Newest failure"))
_TEXTS = (
    "procedures",
    "checkReport",
    "scriptArguments",
    "selectedProcedureDetails",
    "selectedProcedureOutput",
    "Status",
    "buildState",
)
_ROWS = (("procedureIds", 70), ("procedureScripts", 0), ("procedureStates", 130))
_SETTINGS = ("adminMode", "loggingLevel")
_OTHERS = ("lrc", "_lrc", "longRunning")  # what the names begin with that tell of long running commands
_RECORDS = (
    (
        "History",
        "History",
        (("newest", "{}"), ("failed", '{"state": "FAILED"}'), ("stopped", '{"state": "STOPPED"}')),
    ),
    ("Requests", "Requests", (("newest", "{}"),)),
    ("Environments", "Environments", ()),
    ("Summarise", "Summaries", (("all in the attributes", "[]"),)),
    ("LifecycleEvents", "Lifecycle events", (("all", "0"),)),
    ("ScriptEvents", "Script events", (("all that are kept", "0"),)),
    ("Output", "Output", ()),
    ("CheckReport", "Report of a check", ()),
)
"""What is asked: a command, what it is called here, and arguments to choose from, so that nobody writes JSON."""

_Parts = list[tuple[int, Node]]


def engineers_board(device: str, variable: str, names: Mapping[str, str]) -> tuple[Node, tuple[int, int]]:
    """Return what is on the board, of the device that the variable stands for, and its width and height in pixels.

    :param device: the reference to the device
    :param variable: the name of the variable
    :param names: the names of all boards, for the links
    """
    columns = _columns(device)
    shown = max(_height(column) for column in columns)
    calls = [
        Column(((_TITLE, w.title(text)), (0, w.call(device, name, name, choices=choices))), gap=0)
        for name, text, choices in _RECORDS
    ]
    parts: _Parts = [
        (_HEADER, _header(device, variable, names)),
        (shown, Row([(0, _filled(column, shown)) for column in columns])),
        (_TITLE + _EVENTS, Row([(0, part) for part in _events(device)])),
        *((_TITLE + _ANSWER, Row([(0, call) for call in calls[i : i + 4]])) for i in range(0, len(calls), 4)),
    ]
    return Column(parts), (WIDTH, _height(parts) + GAP * (len(parts) - 1))


def _header(device: str, variable: str, names: Mapping[str, str]) -> Node:
    return Row(
        (
            (230, w.label(names["engineer"], 1.5, looks.TITLE_BACKGROUND)),
            (360, w.choice("Subarray", variable)),
            (200, w.device_state(device)),
            (0, None),
            (140, w.link(names["operator"], "Operator")),
            (140, w.link(names["fleet"], "Fleet")),
        )
    )


def _columns(device: str) -> tuple[_Parts, ...]:
    """Return every attribute, those that are logged apart, in four columns of parts with their heights."""
    placed = {name for name, _ in (*_LOGS, *_PRINTED, *_ROWS)} | set(_TEXTS)
    rest = [each for each in interface().attributes.values() if each.name not in placed]
    commands = [each for each in rest if each.name.startswith(_OTHERS)]
    own = [each for each in rest if not each.name.startswith(_OTHERS)]
    return (
        [(_TITLE, w.title("Attributes")), *_lines(device, own)],
        [(_TITLE, w.title("Settings and lists")), *_settings(device), *_tables(device, own, _TABLE)],
        [
            (_TITLE, w.title("Procedures and texts")),
            *_rows(device),
            *_titled([(name, w.text(device, name)) for name in _TEXTS], _TEXT),
        ],
        [(_TITLE, w.title("Long running commands")), *_lines(device, commands), *_tables(device, commands, _COMMANDS)],
    )


def _lines(device: str, known: Sequence[InterfaceAttribute]) -> _Parts:
    return [(_LINE, w.display(device, each.name, each.name)) for each in known if each.format == "SCALAR"]


def _tables(device: str, known: Sequence[InterfaceAttribute], height: int) -> _Parts:
    return _titled([(each.name, _table(device, each)) for each in known if each.format != "SCALAR"], height)


def _table(device: str, known: InterfaceAttribute) -> Widget:
    return w.table(device, known.name, 4, 7) if known.format == "IMAGE" else w.values(device, known.name)


def _settings(device: str) -> _Parts:
    """Return menus, each as high as its values need: a menu is clipped to its widget."""
    parts: _Parts = []
    for name in _SETTINGS:
        height = _MENU + _VALUE * len(attribute(name).labels)
        parts += [(_TITLE, w.subtitle(f"Set {name}")), (-(-height // STEP) * STEP, w.dropdown(device, name, name))]
    return parts


def _rows(device: str) -> _Parts:
    """Return the attributes that have one value a procedure, side by side."""
    title = w.subtitle(", ".join(name for name, _ in _ROWS))
    values = Row([(width, w.values(device, name)) for name, width in _ROWS], gap=0)
    return [(_TITLE, title), (_PROCEDURES, values)]


def _events(device: str) -> list[Node]:
    logs = [Column(((_TITLE, w.title(text)), (0, w.log(device, name, 40))), gap=0) for name, text in _LOGS]
    texts = [Column(((_TITLE, w.title(text)), (0, w.tail(device, name))), gap=0) for name, text in _PRINTED]
    return [*logs, *texts]


def _titled(parts: Sequence[tuple[str, Node]], height: int) -> _Parts:
    """Return each part below the name of its attribute."""
    return [each for name, part in parts for each in ((_TITLE, w.subtitle(name)), (height, part))]


def _height(parts: Sequence[tuple[int, Node]]) -> int:
    return sum(height for height, _ in parts)


def _filled(parts: _Parts, height: int) -> Node:
    """Return a column of that height, with room at its end."""
    left = height - _height(parts)
    return Column([*parts, (left, None)] if left else parts, gap=0)
