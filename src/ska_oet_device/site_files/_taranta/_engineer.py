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
_LEAST = 90  # of what takes a share of the room that is left
_BUILD = 50
_PROCEDURES = 300
_COMMANDS = 60
_ABREAST = 4
_EVENTS = 280
_ANSWER = 300
_MENU = 40  # above the values of a menu
_VALUE = 32  # of a menu

# What has a place of its own.  All others follow in the order of the alphabet, so that a new one is there at once.
_LOGS = (("lifecycleEvent", "Lifecycle events"), ("scriptEvent", "Messages of scripts"))
_PRINTED = (("scriptOutput", "Output"), ("stacktrace", "Newest failure (whose: Status, History)"))
_TEXTS = ("checkReport", "scriptArguments", "selectedProcedureDetails", "selectedProcedureOutput")
_ELSEWHERE = ("Status", "buildState", "procedures", "procedureTable")
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
        (shown, Row([(0, _column(column)) for column in columns])),
        (_TITLE + _EVENTS, Row([(0, part) for part in _events(device)])),
        *((_TITLE + _ANSWER, row) for row in _abreast(calls)),
        _commands(device),
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
    """Return in columns what is looked at: all but what is logged, and what tells of long running commands."""
    placed = {name for name, _ in (*_LOGS, *_PRINTED, *_ROWS)} | {*_TEXTS, *_ELSEWHERE}
    own = [each for each in interface().attributes.values() if each.name not in placed and not _is_of_a_command(each)]
    return (
        [
            (_TITLE, w.title("Attributes")),
            *_lines(device, own),
            *_titled([("Status", w.text(device, "Status"))]),
            *_titled([("buildState", w.text(device, "buildState"))], _BUILD),
        ],
        [
            (_TITLE, w.title("Settings and lists")),
            *_settings(device),
            *_titled([(each.name, _table(device, each)) for each in own if each.format != "SCALAR"]),
        ],
        [
            (_TITLE, w.title("Procedures")),
            *_titled([("procedureTable", w.table(device, "procedureTable", 101, 7))], _PROCEDURES),
            *_rows(device),
            *_titled([("procedures", w.text(device, "procedures"))]),
        ],
        [(_TITLE, w.title("Texts")), *_titled([(name, w.text(device, name)) for name in _TEXTS])],
    )


def _is_of_a_command(known: InterfaceAttribute) -> bool:
    return known.name.startswith(_OTHERS)


def _commands(device: str) -> tuple[int, Node]:
    """Return what other devices see of their long running commands: mostly nothing, so it is the last of all."""
    known = [each for each in interface().attributes.values() if _is_of_a_command(each)]
    cells = [Column(_titled([(each.name, _cell(device, each))]), gap=0) for each in known]
    rows = _abreast(cells)
    parts: _Parts = [(_TITLE, w.title("Long running commands")), *((_TITLE + _COMMANDS, row) for row in rows)]
    return _height(parts), Column(parts, gap=0)


def _cell(device: str, known: InterfaceAttribute) -> Widget:
    return w.display(device, known.name) if known.format == "SCALAR" else _table(device, known)


def _abreast(cells: Sequence[Node]) -> list[Node]:
    """Return rows of so many, with room behind the last one."""
    filled = [*cells, *[None] * (-len(cells) % _ABREAST)]
    return [Row([(0, cell) for cell in filled[i : i + _ABREAST]]) for i in range(0, len(filled), _ABREAST)]


def _lines(device: str, known: Sequence[InterfaceAttribute]) -> _Parts:
    return [(_LINE, w.display(device, each.name, each.name)) for each in known if each.format == "SCALAR"]


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
    return [(_TITLE, title), (0, values)]


def _events(device: str) -> list[Node]:
    logs = [Column(((_TITLE, w.title(text)), (0, w.log(device, name, 40))), gap=0) for name, text in _LOGS]
    texts = [Column(((_TITLE, w.title(text)), (0, w.tail(device, name))), gap=0) for name, text in _PRINTED]
    return [*logs, *texts]


def _titled(parts: Sequence[tuple[str, Node]], height: int = 0) -> _Parts:
    """Return each part below the name of its attribute; without a height it takes a share of what is left."""
    return [each for name, part in parts for each in ((_TITLE, w.subtitle(name)), (height, part))]


def _height(parts: _Parts) -> int:
    return sum(height or _LEAST for height, _ in parts)


def _column(parts: _Parts) -> Node:
    """Return a column that fills its place: parts share the room that is left, or it is left at the end."""
    return Column(parts if any(not height for height, _ in parts) else [*parts, (0, None)], gap=0)
