"""The operator's board: what runs, a Stop that is found in a second, and all that is needed to run a script."""

from __future__ import annotations

from collections.abc import Mapping

from . import _looks as looks
from . import _widgets as w
from ._layout import Column, Node, Row

SIZE = (1880, 900)
"""Pixels of the board: with the bars of a browser and of Taranta it fits onto a screen of 1920 x 1080."""

_SIDE = 480  # pixels: the left column; and the right one, above
# Room is left: to the right of Stop for Pause and Resume, below the script to run for what a script asks the operator.


def operators_board(device: str, variable: str, names: Mapping[str, str]) -> Node:
    """Return what is on the board, of the device that the variable stands for.

    :param device: the reference to the device
    :param variable: the name of the variable
    :param names: the names of all boards, for the links
    """
    below = Row(
        (
            (_SIDE, Column(((500, _to_run(device)), (0, None)))),
            (0, Column(((370, Row(((0, _procedures(device)), (_SIDE, _health(device))))), (0, _texts(device))))),
        )
    )
    return Column(((50, _header(device, variable, names)), (150, _active(device)), (0, below)))


def _header(device: str, variable: str, names: Mapping[str, str]) -> Node:
    return Row(
        (
            (230, w.label(names["operator"], 1.5, looks.TITLE_BACKGROUND)),
            (360, w.choice("Subarray", variable)),
            (200, w.device_state(device)),
            (0, w.display(device, "Status", css=looks.SENTENCES)),
            (140, w.link(names["engineer"], "Engineer")),
            (140, w.link(names["fleet"], "Fleet")),
        )
    )


def _active(device: str) -> Node:
    """Stop, and the active procedure."""
    state = "activeProcedureState"
    lamps = w.box(
        w.lamp(device, state, "READY", "Ready", looks.WAITING),
        w.lamp(device, state, "RUNNING", "Running", looks.RUNNING),
        w.lamp(device, state, "COMPLETE", "Complete", looks.GOOD),
        w.lamp(device, state, "STOPPED", "Stopped", looks.STOPPED),
        w.lamp(device, state, "FAILED", "Failed", looks.BAD),
        w.lamp(device, state, "UNKNOWN", "Unknown", looks.LOST),
        layout="horizontal",
    )
    which = (
        (260, w.display(device, state, size=1.8)),
        (150, w.display(device, "activeProcedureId", "Id", size=1.2)),
        (0, w.display(device, "activeScript", "Script", css=looks.TWO_LINES)),
    )
    what = (
        (260, w.display(device, "activeFunction", "Function", css=looks.TWO_LINES)),
        (0, w.display(device, "activeActivity", "Now", css=looks.TWO_LINES)),
    )
    facts = Column(((30, w.title("Active procedure")), (50, Row(which, 0)), (30, lamps), (40, Row(what, 0))), gap=0)
    percent = w.display(device, "activeProgress", size=2.5, precision=0, css=looks.NUMBER)
    dial = Row(((140, w.dial(device, "activeProgress")), (0, percent)), 0)
    progress = Column(((30, w.title("Progress")), (0, dial)), gap=0)
    stop = Row(((330, w.button(device, "StopActive", "STOP", looks.STOP_BUTTON)), (0, None)))
    return Row(((_SIDE, stop), (0, facts), (_SIDE, progress)))


def _to_run(device: str) -> Node:
    """Which script, with which arguments.  The menu of scripts opens within its widget.

    What is chosen is the device's, and another operator may have chosen: what Run takes stands directly above it.
    """
    buttons = Row(
        (
            (0, w.button(device, "RunSelected", "Run", looks.RUN_BUTTON)),
            (150, w.button(device, "PrepareSelected", "Prepare", looks.PREPARE_BUTTON)),
        )
    )
    taken = Column(
        (
            (30, w.subtitle("What Run takes, whoever chose it:")),
            (40, w.display(device, "selectedScript", "Chosen", css=looks.TWO_LINES)),
            (0, w.text(device, "scriptArguments")),
        ),
        gap=0,
    )
    parts = Column(
        (
            (190, w.dropdown(device, "selectedScript", "Choose a script", choices="availableScripts")),
            (40, w.writer(device, "scriptArguments", "Arguments")),
            (0, taken),
            (60, buttons),
        )
    )
    return Column(((30, w.title("Run a script")), (0, parts)), gap=0)


def _procedures(device: str) -> Node:
    """All procedures; one of them is selected by its id, for Start and Stop."""
    selected = Row(
        (
            (150, w.display(device, "selectedProcedure", "Selected")),
            (150, w.display(device, "selectedProcedureState")),
            (0, w.writer(device, "selectedProcedure", "Select id (0: active)")),
            (130, w.button(device, "StartSelected", "Start it", looks.PREPARE_BUTTON)),
            (130, w.button(device, "StopSelected", "Stop it", looks.WARNING_BUTTON)),
        )
    )
    table = w.table(device, "procedureTable", 101, 7)
    return Column(((30, w.title("Procedures")), (0, table), (10, None), (40, selected)), gap=0)


def _health(device: str) -> Node:
    """Health and quality assurance."""
    state = "healthState"
    lamps = w.box(
        w.lamp(device, state, "OK", "OK", looks.GOOD),
        w.lamp(device, state, "DEGRADED", "Degraded", looks.STOPPED),
        w.lamp(device, state, "FAILED", "Failed", looks.BAD),
        w.lamp(device, state, "UNKNOWN", "Unknown", looks.BAD),
        layout="horizontal",
    )
    return Column(
        (
            (30, w.title("Health")),
            (40, lamps),
            (30, w.display(device, "adminMode", "Admin mode")),
            (0, w.values(device, "healthInfo")),
            (10, None),
            (30, w.title("Quality assurance")),
            (40, w.switch(device, "waitForQaReady", "Scripts wait until it is ready")),
            (10, None),
            (50, w.button(device, "OverrideWaitForQaReady", "Go on this once", looks.WARNING_BUTTON, confirm=True)),
        ),
        gap=0,
    )


def _texts(device: str) -> Node:
    """What the active script prints, how the newest failure came about, and the selected procedure."""
    selected = Column(
        ((0, w.text(device, "selectedProcedureDetails")), (110, w.tail(device, "selectedProcedureOutput")))
    )
    # The trace itself says neither of whom it is nor that others have succeeded since.
    whose = w.subtitle("It stays. Whose: Status, or the FAILED row above")
    failure = Column(((30, whose), (0, w.tail(device, "stacktrace"))), gap=0)
    titled = (
        ("Output of the active procedure", w.tail(device, "scriptOutput")),
        ("Newest failure, also after successes", failure),
        ("Selected procedure", selected),
    )
    columns = [Column(((30, w.title(text)), (0, part)), gap=0) for text, part in titled]
    return Row(((0, columns[0]), (0, columns[1]), (_SIDE, columns[2])))
