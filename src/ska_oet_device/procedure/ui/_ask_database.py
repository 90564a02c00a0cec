"""Whether a Tango database answers, and what it says of a server's devices; asked without Tango's client."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ...giop import DATABASE_KEY, NOT_THERE, Reader, Reference, RemoteError, command, reference_of


@dataclass(frozen=True)
class Exported:
    """What the database says of a device that is exported.

    :param reference: where it is
    :param server: ``OetDevice/01``
    :param host: as the server has called its own
    """

    device: str
    reference: Reference
    server: str
    host: str
    pid: int


def ask(host: str, port: int) -> None:
    """Have the database look into its tables, within some seconds: one whose MariaDB is away fails, or hangs.

    :raises OSError: nobody is there, or nobody answers in time
    :raises ValueError: what is there is no Tango database, or it says why it cannot be used
    """
    try:
        _command(host, port, "DbInfo")
    except RemoteError as error:
        if error.name == NOT_THERE:
            raise RemoteError(f"the server there has no Tango database yet ({error.name})") from None
        raise


def exported_devices(host: str, port: int, server: str, kind: str) -> list[Exported]:
    """Return the devices of a server, of one class, that are exported, whoever has done that.

    :param server: ``OetDevice/01``
    :param kind: the class
    :raises OSError, ValueError: as `ask` does
    """
    try:
        reply = _command(host, port, "DbGetDeviceClassList", server)
        reply.pass_type()
        pairs = reply.texts()
    except struct.error as error:
        raise ValueError(f"the database's answer cannot be read: {error}") from None
    names = [name for name, of in zip(pairs[::2], pairs[1::2], strict=True) if of.lower() == kind.lower()]
    found = [registered(host, port, name)[1] for name in names]
    return [each for each in found if each is not None]


def registered(host: str, port: int, device: str) -> tuple[str, Exported | None]:
    """Return whose device the database says that this is, and where it is exported, if it is.

    :raises OSError, ValueError: as `ask` does
    """
    try:
        reply = _command(host, port, "DbImportDevice", device)
        reply.pass_type()
        numbers, texts = reply.numbers(), reply.texts()
    except struct.error as error:
        raise ValueError(f"the database's answer cannot be read: {error}") from None
    name, ior, _, server, of_host = texts[:5]
    reference = reference_of(ior)
    if not numbers[0] or reference is None:
        return server, None
    return server, Exported(name, reference, server, of_host, numbers[1])


def _command(host: str, port: int, name: str, argument: str | None = None) -> Reader:
    return command(Reference(host, port, DATABASE_KEY), name, argument)
