"""What Tango needs before it starts, looked at beforehand: it ends the process without a word that helps."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pwd
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

import tango

from ._ask_database import ask

_log = logging.getLogger(__name__)

_PAUSE = 0.5  # seconds between two looks
_TOLD_EVERY, _NEWS_EVERY = 60.0, 5.0  # seconds between two lines in the log: of what goes on, of something else


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


@dataclass(frozen=True)
class DatabaseProblem:
    """Why the Tango database cannot be used, in a sentence that names it.

    :param may_pass: it may, without another TANGO_HOST
    """

    text: str
    may_pass: bool


def database_problem() -> DatabaseProblem | None:
    """Ask the Tango database whether it can be used; of one that does not answer this takes seconds for each host."""
    hosts = tango.ApiUtil.get_env_var("TANGO_HOST") or ""
    if not hosts:
        return DatabaseProblem("TANGO_HOST is not set, neither in the environment nor in a tangorc file", False)
    problems, may_pass = [], False
    for address in hosts.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal():
            problems.append(f"{address.strip()}: not HOST:PORT")
            continue
        may_pass = True
        try:
            ask(host, int(port))
        except (OSError, ValueError, OverflowError) as error:
            problems.append(f"{address.strip()}: {_in_words(error, host)}")
        else:
            return None
    return DatabaseProblem(
        f"the Tango database at TANGO_HOST={hosts} does not answer ({'; '.join(problems)})", may_pass
    )


def _in_words(error: Exception, host: str) -> str:
    if isinstance(error, socket.gaierror):
        return f"nobody knows a host {host} ({error.strerror}): the name may be wrong"
    return str(error)


def wait_for_database(patience: float = math.inf) -> str:
    """Wait until the Tango database answers, and say so in the log from time to time.

    :param patience: seconds; 0: do not wait
    :return: why it cannot be used all the same; empty if it can
    """
    problem = database_problem()
    if problem is None:
        return ""
    if not patience or not problem.may_pass:
        return problem.text
    begun = time.monotonic()
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    limit = "" if math.isinf(patience) else f", for at most {patience:g} s"
    _log.error("%s: the start waits for it%s", problem.text, limit)
    told, told_at = problem, begun
    while (problem := database_problem()) is not None:
        now = time.monotonic()
        if now - begun >= patience:
            return f"{problem.text}, and it was waited for since {since}"
        if now - told_at >= (_TOLD_EVERY if problem == told else _NEWS_EVERY):
            _log.warning("waiting for the Tango database since %s: %s", since, problem.text)
            told, told_at = problem, now
        time.sleep(min(_PAUSE, patience - (now - begun)))
    _log.info("the Tango database answers, after %.0f s", time.monotonic() - begun)
    return ""


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
