"""What Tango needs before it starts, looked at beforehand: it ends the process without a word that helps.

Asked without Tango's client, which would make an object request broker that is none of a server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import re
import socket
import struct
import time
from collections.abc import Sequence

import tango

_log = logging.getLogger(__name__)

_PATIENCE = 3.0  # seconds for the database to answer
_PAUSE = 0.5  # seconds between two looks
_KEY = b"database"  # the object key of every Tango database (Database::default_obj_key of cppTango's)
_LOCATE_REQUEST, _LITTLE_ENDIAN = 3, 1


def do_without_user_name() -> None:
    """Have omniORB name the folder of its sockets after the number of a user that has no name, as on OpenShift.

    It names it after the user, and refuses to start where that has no entry in the password file.
    """
    user = os.geteuid()
    try:
        pwd.getpwuid(user)
    except KeyError:
        os.environ.setdefault("ORBunixTransportDirectory", f"/tmp/omni-{user}")


def uses_database(arguments: Sequence[str]) -> bool:
    """Say whether a server with these arguments asks a Tango database."""
    return not any(argument == "-nodb" or argument.startswith("-file=") for argument in arguments)


def database_problem() -> str:
    """Return why the Tango database cannot be used, naming it; empty if it answers.  Takes some seconds at most."""
    hosts = tango.ApiUtil.get_env_var("TANGO_HOST") or ""
    if not hosts:
        return "TANGO_HOST is not set, neither in the environment nor in a tangorc file"
    problems = []
    for host in hosts.split(","):
        try:
            _ask(host.strip())
        except (OSError, ValueError) as error:
            problems.append(f"{host}: {error}")
        else:
            return ""
    return f"the Tango database at TANGO_HOST={hosts} does not answer ({'; '.join(problems)})"


def wait_for_database() -> None:
    """Wait until the Tango database answers, however long that takes: a server that has served is not given up."""
    problem = database_problem()
    if not problem:
        return
    _log.error("%s: the start waits for it", problem)
    while database_problem():
        time.sleep(_PAUSE)
    _log.info("the Tango database answers again")


def _ask(address: str) -> None:
    """Have the database's object request broker answer where the database is: one that hangs does not.

    A LocateRequest of GIOP 1.0.  Source: CORBA 3.3, part 2: 9.4.1 (header), 9.4.5 (LocateRequest).

    :raises OSError: nobody is there, or nobody answers in time
    :raises ValueError: not an address, or no object request broker
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("not HOST:PORT")
    body = struct.pack("<II", 1, len(_KEY)) + _KEY
    head = b"GIOP" + bytes([1, 0, _LITTLE_ENDIAN, _LOCATE_REQUEST]) + struct.pack("<I", len(body))
    with socket.create_connection((host, int(port)), timeout=_PATIENCE) as connection:
        connection.sendall(head + body)
        if connection.recv(4) != b"GIOP":
            raise ValueError("what listens there is no Tango database")


def port_problem(arguments: Sequence[str]) -> str:
    """Return which end point of the arguments cannot be listened at, and why; empty if there is none."""
    for end_point in _end_points(arguments):
        match = re.fullmatch(r"giop:tcp:([^:]*):(\d+)", end_point)
        if match is None or int(match[2]) == 0:
            continue
        try:
            _listen(match[1], int(match[2]))
        except OSError as error:
            return f"the server cannot listen at port {match[2]} (-ORBendPoint {end_point}): {error.strerror or error}"
    return ""


def _end_points(arguments: Sequence[str]) -> list[str]:
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return [value for name, value in pairs if name in ("-ORBendPoint", "-ORBendPointNoListen", "-ORBendPointNoPublish")]


def _listen(host: str, port: int) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as omniORB does
        probe.bind((host, port))
        probe.listen(1)
