"""What the Tango database says of a device.  Blocks, but never the interpreter: for threads that may wait.

``Database.get_device_property`` and its like hold Python's lock while they wait: a database that hangs would stop every
thread of this process for 80 s (measured).  A command of the database's device does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import tango

AGAIN_AFTER = 2.0
"""Seconds until a database that has failed is asked again: cppTango refuses to connect twice within one."""

_CLASS = "OetDevice"
_LONGEST_CAUSE = 200  # characters
_NO_CONNECTION = "TRANSIENT_ConnectFailed"


def whereabouts() -> str:
    """Return where the database is looked for, as the end of a clause; "" if that is not known."""
    host = tango.ApiUtil.get_env_var("TANGO_HOST")
    return f" at TANGO_HOST={host}" if host else ""


def cause_of(error: Exception) -> str:
    """Return in one line what is wrong with the database: the innermost error, not the outermost."""
    if not isinstance(error, tango.DevFailed):
        text = f"{type(error).__name__}: {error}"
    elif _NO_CONNECTION in (text := str(error.args[0].desc)):
        text = f"the connection is refused, or nobody answers: {_NO_CONNECTION}"
    return " ".join(text.split())[:_LONGEST_CAUSE]


def property_texts(device: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the elements of the properties that are set for a device, or else for its class.

    :raises tango.DevFailed: the database does not answer, or fails
    """
    if not tango.Util._UseDb:
        return {}
    database = tango.Util.instance().get_database()
    if tango.Util._FileDb:  # a file, in memory
        of_class = database.get_class_property(_CLASS, list(names))
        of_device = database.get_device_property(device, list(names))
        found = {**of_class, **{name: values for name, values in of_device.items() if len(values)}}
        return {name: list(values) for name, values in found.items() if len(values)}
    of_device = _parse(database.command_inout("DbGetDeviceProperty", [device, *names]), names)
    of_class = _parse(database.command_inout("DbGetClassProperty", [_CLASS, *names]), names)
    return {**of_class, **of_device}


_KEPT = "__value"  # where Tango keeps what was written to a memorised attribute


def kept_values(device: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the elements of what is kept for memorised attributes, where something is.

    :raises tango.DevFailed: the database does not answer, or fails
    """
    if not tango.Util._UseDb:
        return {}
    database = tango.Util.instance().get_database()
    if tango.Util._FileDb:
        found = database.get_device_attribute_property(device, list(names))
        return {name: list(found[name][_KEPT]) for name in names if _KEPT in found.get(name, {})}
    items = iter(database.command_inout("DbGetDeviceAttributeProperty2", [device, *names])[2:])
    kept: dict[str, list[str]] = {}
    for name in items:
        for _ in range(int(next(items))):
            key = next(items)
            values = [_decoded(next(items)) for _ in range(int(next(items)))]
            if key == _KEPT:
                kept[name] = values
    return {name: kept[name] for name in names if name in kept}


def put_kept(device: str, name: str, values: Sequence[str]) -> None:
    """Keep what was written to a memorised attribute.

    :raises tango.DevFailed: the database does not answer, or fails
    """
    if not tango.Util._UseDb:
        return
    database = tango.Util.instance().get_database()
    if tango.Util._FileDb:
        database.put_device_attribute_property(device, {name: {_KEPT: list(values)}})
        return
    request = [device, "1", name, "1", _KEPT, str(len(values)), *values]
    database.command_inout("DbPutDeviceAttributeProperty2", request)


def delete_kept(device: str, name: str) -> None:
    """Keep nothing of a memorised attribute.

    :raises tango.DevFailed: the database does not answer, or fails
    """
    if not tango.Util._UseDb:
        return
    database = tango.Util.instance().get_database()
    if tango.Util._FileDb:
        database.delete_device_attribute_property(device, {name: [_KEPT]})
        return
    database.command_inout("DbDeleteDeviceAttributeProperty", [device, name, _KEPT])


def free_property(name: str, of: str) -> list[str]:
    """Return the elements of a property of a free object of the database; none where it is not set.

    :raises tango.DevFailed: the database does not answer, or fails
    """
    if not tango.Util._UseDb or tango.Util._FileDb:
        return []
    database = tango.Util.instance().get_database()
    return _parse(database.command_inout("DbGetProperty", [of, name]), [name]).get(name, [])


def devices_of_server() -> list[str]:
    """Return the devices that the database lists for this server, in lower case.

    :raises tango.DevFailed: the database does not answer, or fails
    """
    util = tango.Util.instance()
    listed = util.get_database().command_inout("DbGetDeviceList", [util.get_ds_name(), _CLASS])
    return [name.lower() for name in listed]


def _parse(answer: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the properties that an answer holds: owner, count, then of each its name, its size, its elements.

    A property that is not set has size 0; some databases put one blank behind that, and others do not.
    """
    items = iter(answer[2:])
    found: dict[str, list[str]] = {}
    for name in names:
        said = next(items)
        if said == " " and said.lower() != name.lower():
            said = next(items)
        if said.lower() != name.lower():
            raise ValueError(f"the database was asked for the property {name}, and answers of {said[:80]!r}")
        values = [_decoded(next(items)) for _ in range(int(next(items)))]
        if values:
            found[name] = values
    return found


def _decoded(text: str) -> str:
    """Return a text as it was put: PyTango's clients put UTF-8, others Latin-1."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
