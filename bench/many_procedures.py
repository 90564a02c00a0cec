"""Fills a history with procedures as a year of observing leaves them, in bulk, by the database itself.

Of each there are ten rows of lifecycle events (every twentieth FAILED, with a stack trace), a call with its
arguments, two requests, and what it is looked for by.  Statements are such that SQLite and PostgreSQL take them both.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, Engine, text

EVENTS, REQUESTS = 10, 2
SCRIPTS, USERS = 50, 7
APART = 8.64  # seconds from one procedure to the next: a million in a hundred days

# previous, state, and seconds after CREATING, as a script of a minute has them.
_STATES = (
    ("NULL", 1, 0.0),
    ("1", 2, 0.005),
    ("2", 4, 0.006),
    ("4", 2, 0.009),
    ("2", 5, 0.01),
    ("5", 6, 0.012),
    ("6", 7, 0.02),
    ("7", 6, 6.0),
    ("6", 7, 6.1),
)
_FAILED, _COMPLETE = 10, 8
_END = 7.0  # seconds

_IS_FAILED = "i % 20 = 0"
_UID = "(:first + i)"
_CREATED = "(:begin + i * :apart)"
_RUN_ID = "(CAST(10000000 + i AS TEXT) || '-5f3a-7ac5-910f-3b19592219a4')"
_URI = f"('file:///observatory/scripts/block_' || CAST(i % {SCRIPTS} AS TEXT) || '.py')"
_PROVENANCE = f'{{"path": "/scripts/block.py", "sha256": "{"5f" * 32}", "git_commit": null, "environment": null}}'
_EXIT = '{"exit_code": 0, "signal": null, "reason": "completed", "signals_sent": [], "reaped": [], "survivors": []}'
_TRACE = "\n".join(f'  File "/observatory/scripts/lib/step_{n}.py", line {n * 17}, in step_{n}' for n in range(12))

_TABLES = {
    "procedure": f"""
        (device, id, run_id, uri, script, provenance, state, stacktrace, exit, os_pid, function, abort_of, changed)
        SELECT :device, {_UID}, {_RUN_ID}, 'tango://tango-db:10000/mid-oet/subarray/01#' || CAST({_UID} AS TEXT),
          '{{"script_type": "filesystem", "script_uri": "' || {_URI} || '"}}',
          '{_PROVENANCE}',
          CASE WHEN {_IS_FAILED} THEN {_FAILED} ELSE {_COMPLETE} END,
          CASE WHEN {_IS_FAILED} THEN :trace ELSE NULL END,
          '{_EXIT}',
          NULL, 'main', NULL, {_CREATED} + {_END} FROM n""",
    "lookup": f"""
        (device, id, run_id, created, script_uri, stop_reason)
        SELECT :device, {_UID}, {_RUN_ID}, {_CREATED}, {_URI}, NULL FROM n""",
    "lifecycle": f"""
        (device, sequence, process_uid, run_id, previous, state, time, reason)
        SELECT :device, :first_sequence + (i - 1) * {EVENTS} + k, {_UID}, {_RUN_ID}, previous,
          CASE WHEN s.state = 0 THEN CASE WHEN {_IS_FAILED} THEN {_FAILED} ELSE {_COMPLETE} END ELSE s.state END,
          {_CREATED} + after, CASE WHEN s.state = 0 THEN 'completed' ELSE NULL END FROM n, states s ORDER BY i, k""",
    "call": f"""
        (device, process_uid, fn, fn_args, time)
        SELECT :device, {_UID}, 'main', '{{"args": [], "kwargs": {{"target": "PSR J0437-4715", "block": "sb-'
          || CAST(i AS TEXT) || '", "dwell": 5.5}}}}', {_CREATED} FROM n""",
    "request": f"""
        (device, number, time, command, client, "user", process_uid, answer)
        SELECT :device, :first_request + (i - 1) * {REQUESTS} + k, {_CREATED},
          CASE WHEN k = 1 THEN 'Prepare' ELSE 'Start' END,
          'PyTango client of the sequencer on host tmc-' || CAST(i % 3 AS TEXT),
          'operator-' || CAST(i % {USERS} AS TEXT), {_UID}, 'accepted' FROM n, states s WHERE k <= {REQUESTS}""",
}


def fill(engine: Engine, device: str, count: int) -> float:
    """Add procedures that have ended, the newest just now, and have the numbers go on behind them.

    :param device: as its row of the table `device` calls it
    :return: Unix time of the first one
    """
    begin = time.time() - (count + 1) * APART
    with engine.begin() as connection:
        first = connection.execute(
            text("SELECT last_id, last_sequence, last_request FROM device WHERE name = :device"), {"device": device}
        ).one()
        values = {
            "device": device,
            "first": first.last_id,
            "first_sequence": first.last_sequence,
            "first_request": first.last_request,
            "begin": begin,
            "apart": APART,
            "trace": f"Traceback (most recent call last):\n{_TRACE}\nValueError: no such receiver",
        }
        _make_series(connection, count)
        for table, statement in _TABLES.items():
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(f'INSERT INTO "{table}" {statement}'), used)
        counters = "last_id = :ids, last_sequence = :sequence, last_request = :requests"
        connection.execute(
            text(f"UPDATE device SET {counters} WHERE name = :device"),
            {
                "ids": first.last_id + count,
                "sequence": first.last_sequence + count * EVENTS,
                "requests": first.last_request + count * REQUESTS,
                "device": device,
            },
        )
        connection.execute(text("DROP TABLE n"))
        connection.execute(text("DROP TABLE states"))
    return begin


def _make_series(connection: Connection, count: int) -> None:
    numbers = (
        f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {count}) SELECT i FROM s"
        if connection.dialect.name == "sqlite"
        else f"SELECT generate_series(1, {count}) AS i"
    )
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text(f"CREATE TEMP TABLE n AS {numbers}"))
    connection.execute(text("CREATE TEMP TABLE states (k INTEGER, previous INTEGER, state INTEGER, after FLOAT)"))
    rows = [*_STATES, ("7", 0, _END)]
    for number, (previous, state, after) in enumerate(rows, 1):
        connection.execute(text(f"INSERT INTO states VALUES ({number}, {previous}, {state}, {after})"))
