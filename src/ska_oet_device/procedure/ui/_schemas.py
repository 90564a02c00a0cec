"""The JSON Schemas (draft 2020-12) of every argument, answer, attribute and event that is JSON, made from the models.

The arguments are those by which requests are checked, the answers the shapes to which mypy holds what is answered.
To make them takes longer than a command may: `make schemas` writes them down, and a device answers with what it wrote.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import JsonValue, TypeAdapter

from . import _requests as requests
from . import _script_arguments as arguments
from . import _shapes as shapes

WRITTEN = Path(__file__).with_name("schemas.json")
"""What a device answers with."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ID_OR_JSON = "Instead of JSON: the bare id of a procedure, such as 3"
_URI_OR_JSON = "Instead of JSON: the bare URI of a script on the file system, such as file://hello.py"


class _Shape(NamedTuple):
    """What is said of a schema, beside what its model says; of a list the items are named."""

    model: Any
    title: str
    description: str = ""


_NAMED: dict[str, _Shape] = {
    "Prepare.argument": _Shape(requests.Prepare, "Argument of Prepare", f"{_URI_OR_JSON}."),
    "Prepare.answer": _Shape(shapes.Summary, "Answer of Prepare", "Its state is CREATING."),
    "Run.argument": _Shape(requests.Run, "Argument of Run", f"{_URI_OR_JSON}."),
    "Run.answer": _Shape(shapes.Summary, "Answer of Run", "Its state is CREATING."),
    "Start.argument": _Shape(
        requests.Start, "Argument of Start", f"{_ID_OR_JSON}, or nothing: the newest procedure that is READY."
    ),
    "Start.answer": _Shape(shapes.Summary, "Answer of Start"),
    "Stop.argument": _Shape(requests.Stop, "Argument of Stop", f"{_ID_OR_JSON}, or nothing: the active procedure."),
    "Stop.answer": _Shape(list[shapes.Summary], "Answer of Stop", "The abort script's, if one was started."),
    "Summarise.answer": _Shape(list[shapes.Summary], "Answer of Summarise"),
    "History.argument": _Shape(
        requests.History, "Argument of History", "Instead of JSON: nothing, for the newest 100 procedures."
    ),
    "History.answer": _Shape(list[shapes.Summary], "Answer of History", "Newest first."),
    "LifecycleEvents.answer": _Shape(list[shapes.Event], "Answer of LifecycleEvents", "Oldest first."),
    "ScriptEvents.answer": _Shape(list[shapes.ScriptMessage], "Answer of ScriptEvents", "Oldest first."),
    "Output.argument": _Shape(requests.Output, "Argument of Output", f"{_ID_OR_JSON}."),
    "Output.answer": _Shape(shapes.OutputPage, "Answer of Output"),
    "Requests.argument": _Shape(
        requests.Requests, "Argument of Requests", "Instead of JSON: nothing, for the newest 100 requests."
    ),
    "Requests.answer": _Shape(list[shapes.Request], "Answer of Requests", "Newest first."),
    "Environments.answer": _Shape(
        list[shapes.EnvironmentShape], "Answer of Environments", "The least recently used first."
    ),
    "Check.argument": _Shape(requests.Check, "Argument of Check", f"{_URI_OR_JSON}."),
    "Check.answer": _Shape(shapes.CheckId, "Answer of Check"),
    "CheckReport.answer": _Shape(shapes.Report | shapes.CheckUnderWay, "Answer of CheckReport"),
    "Schemas.answer": _Shape(
        dict[str, dict[str, Any]], "Answer of Schemas", "JSON Schemas by their names, of which this is one."
    ),
    "lifecycleEvent": _Shape(
        shapes.Event | shapes.Nothing, "Attribute lifecycleEvent", "Without keys before the first event."
    ),
    "scriptEvent": _Shape(
        shapes.ScriptMessage | shapes.Nothing, "Attribute scriptEvent", "Without keys before the first message."
    ),
    "procedures": _Shape(
        list[shapes.BriefSummary], "Attribute procedures", "Those that live, and the newest others; oldest first."
    ),
    "scriptArguments": _Shape(
        arguments.ByFunction | requests.Input | list[JsonValue] | dict[str, JsonValue],
        "Attribute scriptArguments",
        "By function; or what main is given: in full, by position, or by name.",
    ),
    "checkReport": _Shape(
        shapes.Report | shapes.Nothing, "Attribute checkReport", "Without keys before the first report."
    ),
    "RunScript.argument": _Shape(requests.Run, "Argument of RunScript", f"{_URI_OR_JSON}."),
    "PrepareScript.argument": _Shape(requests.Prepare, "Argument of PrepareScript", f"{_URI_OR_JSON}."),
    "StartScript.argument": _Shape(
        requests.Start, "Argument of StartScript", f"{_ID_OR_JSON}, or nothing: the newest procedure that is READY."
    ),
    "_lrcEvent": _Shape(shapes.CommandNews, "Attribute _lrcEvent", "The second text; the first is the uid."),
    "lrcQueue": _Shape(shapes.LongRunning, "Attribute lrcQueue", "Each of its texts."),
    "lrcExecuting": _Shape(shapes.LongRunning, "Attribute lrcExecuting", "Each of its texts."),
    "lrcFinished": _Shape(shapes.LongRunning, "Attribute lrcFinished", "Each of its texts."),
}


NAMES = tuple(_NAMED)
"""``<Command>.argument``, ``<Command>.answer`` and ``<attribute>``: all that is JSON; an event is its attribute's."""


@functools.cache
def written() -> str:
    """Return all schemas as one JSON object, by their names, as they were written down.  Any thread."""
    return WRITTEN.read_text(encoding="ascii").strip()


def schema_of(name: str) -> dict[str, Any]:
    """Return one schema.

    :param name: one of NAMES
    """
    shape = _NAMED[name]
    made = TypeAdapter[Any](shape.model).json_schema()
    said = " ".join(filter(None, (made.pop("description", ""), shape.description)))
    head = {"$schema": _DRAFT, "title": shape.title, **({"description": said} if said else {})}
    return {**head, **_without_titles(made)}


def _without_titles(value: Any, *, of_names: bool = False) -> Any:
    """Return a part of a schema without the titles that are made from names; they say what the names say.

    :param of_names: it maps names of keys, of which one may be "title"
    """
    if isinstance(value, list):
        return [_without_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = value if of_names else {key: item for key, item in value.items() if key != "title"}
    return {
        key: _without_titles(item, of_names=not of_names and key in ("properties", "$defs"))
        for key, item in kept.items()
    }
