"""The attributes of the device: one row each, by which Tango is told of them, clients read, and events are pushed."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import tango
from tango.server import Device, attribute

from ... import __version__
from ...logs import about
from ...properties import MOST_PROCEDURES
from ..application import ProcedureSummary
from ..state import ProcedureState
from ._attribute import Attribute, Occasion, Reading
from ._devstring import cut, latin1
from ._health import Health
from ._memory import Memory, text_of, value_of
from ._operator_attributes import OPERATOR_ATTRIBUTES
from ._ska_attributes import SKA_ATTRIBUTES
from ._view import View

_log = logging.getLogger(__name__)

_LONGEST_URI = 512  # characters of a row: 200 rows are no more than `procedures`
_STATE_NAMES = {state: state.name for state in ProcedureState}


def _row(name: str, dtype: type, doc: str, values: Callable[[Sequence[ProcedureSummary]], list[Any]]) -> Attribute:
    """Return an attribute with one value a procedure, oldest first."""
    return Attribute(
        name,
        (dtype,),
        doc,
        Occasion.LISTS,
        lambda view: values(view.snapshot.summaries[-MOST_PROCEDURES:]),
        group="rows",
        declared={"max_dim_x": MOST_PROCEDURES},
    )


ATTRIBUTES = (
    Attribute(
        "lifecycleEvent",
        str,
        "JSON of the newest lifecycle event",
        Occasion.EVENT,
        lambda view: view.event,
        lambda event: event.text,
        lambda event: event.time,
    ),
    Attribute(
        "lifecycleSequence",
        np.int64,
        "Sequence number of the newest lifecycle event",
        Occasion.EVENT,
        lambda view: view.event,
        lambda event: event.sequence,
        lambda event: event.time,
    ),
    _row("procedureIds", np.int64, "Procedure ids, oldest first", lambda rows: [row.id for row in rows]),
    _row(
        "procedureScripts",
        str,
        "Script URIs, in the order of procedureIds",
        lambda rows: [cut(latin1(row.script.script_uri), _LONGEST_URI) for row in rows],
    ),
    _row(
        "procedureStates",
        str,
        "States, in the order of procedureIds",
        lambda rows: [_STATE_NAMES[row.state] for row in rows],
    ),
    Attribute(
        "activeProcedureId",
        np.int64,
        "The procedure that is RUNNING, else the one that changed last; 0: none yet",
        Occasion.CHANGE,
        lambda view: view.snapshot.active.process_uid,
    ),
    Attribute(
        "activeProcedureState",
        ProcedureState,
        "State of the active procedure",
        Occasion.CHANGE,
        lambda view: view.snapshot.active.state,
        int,
    ),
    Attribute(
        "activeScript",
        str,
        "Script URI of the active procedure",
        Occasion.CHANGE,
        lambda view: view.snapshot.active.script_uri,
        lambda uri: cut(latin1(uri), _LONGEST_URI),
    ),
    Attribute(
        "activeFunction",
        str,
        "The function that the active procedure is executing",
        Occasion.CHANGE,
        lambda view: view.snapshot.active.fn_name,
        latin1,
    ),
    Attribute(
        "stacktrace",
        str,
        "Stack trace of the newest failure",
        Occasion.CHANGE,
        lambda view: view.snapshot.newest_failure,
        lambda text: cut(latin1(text)),
    ),
    Attribute(
        "procedures",
        str,
        "JSON list of ProcedureSummary, shortened, without stack traces",
        Occasion.LISTS,
        lambda view: view.texts.json(view.snapshot),
    ),
    Attribute(
        "activeProgress",
        float,
        "How far the active script says it has come",
        Occasion.PROGRESS,
        lambda view: view.progress,
        lambda progress: progress.percent,
        empty=0.0,
        group="progress",
        declared={"unit": "%", "min_value": 0, "max_value": 100},
    ),
    Attribute(
        "activeActivity",
        str,
        "What the active script says it is doing",
        Occasion.PROGRESS,
        lambda view: view.progress,
        lambda progress: latin1(progress.activity),
        empty="",
        group="progress",
    ),
    Attribute(
        "scriptEvent",
        str,
        "JSON of the newest message that a script published",
        Occasion.MESSAGE,
        lambda view: view.message,
        lambda message: message.text,
        lambda message: message.time,
    ),
    Attribute(
        "scriptOutput",
        str,
        "The last lines that the active script printed",
        Occasion.OUTPUT,
        lambda view: view.output,
        lambda text: cut(latin1(text)),
    ),
    Attribute(
        "checkReport",
        str,
        "JSON of the newest report of a check",
        Occasion.CHECK,
        lambda view: view.report,
        lambda report: report.text,
        lambda report: report.time,
    ),
    Attribute(
        "waitForQaReady",
        bool,
        "Whether scripts wait until quality assurance is ready",
        Occasion.REFRESH,
        lambda view: view.wait_for_qa_ready,
        memorised=True,
        declared={"access": tango.AttrWriteType.READ_WRITE},
    ),
    Attribute(
        "healthState",
        Health,
        "Whether this server can do its job",
        Occasion.REFRESH,
        lambda view: view.health,
        int,
    ),
    Attribute("versionId", str, "Version of this program", Occasion.NEVER, lambda view: __version__),
    Attribute(
        "buildState",
        str,
        "Name, version and description of this program",
        Occasion.NEVER,
        lambda view: f"ska-oet-device, {__version__}, executes observing scripts in supervised processes",
    ),
    *OPERATOR_ATTRIBUTES,
    *SKA_ATTRIBUTES,
)
"""All attributes but Tango's own, State and Status; what is pushed on one occasion is pushed in this order."""

_MEMORISED = {item.name: item for item in ATTRIBUTES if item.memorised}
MEMORISED = tuple(_MEMORISED)
"""Attributes of which what is written is kept in the Tango database."""

PUSHED = ("State", "Status", *(item.name for item in ATTRIBUTES))
"""Attributes whose change, archive and alarm events come from the code."""


@dataclass(frozen=True)
class Group:
    """Attributes that are pushed together; most groups are of one."""

    items: tuple[Attribute, ...]
    name: str


def _groups(occasion: Occasion) -> Iterator[Group]:
    pushed = (item for item in ATTRIBUTES if item.pushed is occasion)
    for name, members in groupby(pushed, key=lambda item: item.group or item.name):
        items = tuple(members)
        yield Group(items, name)


GROUPS = {occasion: tuple(_groups(occasion)) for occasion in Occasion}
"""What is pushed on each occasion."""

_HAPPENED = (
    "lifecycleEvent",
    "scriptEvent",
    "scriptOutput",
    "selectedProcedureOutput",
    "_lrcEvent",
    "lrcFinished",
)
STANDING = tuple(group for groups in GROUPS.values() for group in groups if group.name not in _HAPPENED)
"""Attributes that say how things stand, not that something has happened: whoever gets one twice knows no more."""


# -- the device class


class DeviceAttributes(Device):
    """The attributes of `OetDevice`; each is read from the device's `view`, and written by ``write_<name>``."""

    view: View
    memory: Memory

    def init_device(self) -> None:
        """Announce that all events come from the code."""
        super().init_device()
        for name in PUSHED:
            self.set_change_event(name, True, False)
            self.set_archive_event(name, True, False)
            self.set_alarm_event(name, True, False)

    def write_what_was_kept(self) -> None:
        """Write to the memorised attributes what was written before, when the server has just started."""
        for name, text in self.memory.take().items():
            try:
                value = value_of(_MEMORISED[name].dtype, text)
                getattr(self, f"write_{name}")(value)
            except (tango.DevFailed, ValueError, KeyError) as error:
                cause = error.args[0].desc if isinstance(error, tango.DevFailed) else str(error)
                _log.error("what was kept for %s is of no use: %s", name, cause, extra=about(self.get_name()))

    def show_what_holds(self) -> None:
        """Have a new device object tell what holds as what was written last: dashboards show that beside the value."""
        attributes = self.get_device_attr()
        for item in ATTRIBUTES:
            if item.declared.get("access") is tango.AttrWriteType.READ_WRITE:
                value, *_ = item.reading(item.source(self.view), 0.0)
                attributes.get_w_attr_by_name(item.name).set_write_value(value)


def _declared(item: Attribute) -> attribute:
    def read(device: DeviceAttributes) -> Reading:
        return item.reading(item.source(device.view), clock.time())

    def write(device: DeviceAttributes, value: Any) -> None:
        getattr(device, f"write_{item.name}")(value)
        device.memory.keep(item.name, text_of(value))

    how = {"fset": write} if item.memorised else {}
    return attribute(fget=read, dtype=item.dtype, doc=item.doc, **how, **item.declared)


for _item in ATTRIBUTES:  # PyTango looks for them when the class of the device itself is made
    setattr(DeviceAttributes, _item.name, _declared(_item))
