"""What `OetDevice --help` prints: Tango's own usage does not know all of it, and needs a database."""

from __future__ import annotations

from typing import Final

from .database_wait import OPTION, VARIABLE

TEXT: Final = f"""\
usage: OetDevice INSTANCE [{OPTION}[=SECONDS]] [Tango's arguments]

INSTANCE is the name under which the server stands in the Tango database (TANGO_HOST): OetDevice/INSTANCE.

  {OPTION}           a first start waits for the Tango database; without it the server ends at once
  {OPTION}=SECONDS   at most so long
  -v, -v1 to -v4                what is logged: -v0 warnings and errors, -v to -v2 INFO, as without; -v3, -v4 DEBUG
  -ORBendPoint giop:tcp:HOST:   listen on this address alone; without it on all interfaces
  -nodb -dlist DEVICE[,DEVICE]  without a database
  -?                            the instances that the database has

Environment:
  TANGO_HOST                    host:port of the Tango database
  {VARIABLE}         forever, or seconds: as {OPTION}
  STATE_DIRECTORY               folder for history, ids and output
  OET_HISTORY_URL               URL of the history's database, where the property HistoryUrl is not set
  ORBendPoint                   as -ORBendPoint
"""
