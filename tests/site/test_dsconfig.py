"""What `oet config dsconfig` writes is loaded by json2tango into a Tango database, and a server starts from it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tango
from support.mariadb import MariaDatabase, shared_server, why_not
from support.site_files import written
from support.tango_server import SCRIPTS, Database, Oet, Server, program, reason_of

CHANGED, NOTHING_TO_DO = 2, 0
"""What json2tango ends with."""


@pytest.fixture(params=["embedded", pytest.param("mariadb", marks=pytest.mark.long)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty Tango database, of both kinds that there are."""
    if request.param == "mariadb" and why_not():
        pytest.skip(why_not())
    database = MariaDatabase(tmp_path, shared_server()) if request.param == "mariadb" else Database(tmp_path)
    yield database
    database.stop()


def load(database: Database, text: str, *options: str) -> int:
    """Have json2tango write a file into the database; returns what it ends with."""
    with tempfile.TemporaryDirectory() as backups:  # it keeps what was there before, and removes nothing
        done = subprocess.run(
            [program("json2tango"), "--write", *options],
            input=text,
            env={**os.environ, "TANGO_HOST": database.host, "TMPDIR": backups},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode


def devices_of(text: str) -> dict[str, dict[str, list[str]]]:
    """Return the properties of each device in a file, by the device's name."""
    return {
        device: told["properties"]
        for classes in json.loads(text)["servers"]["OetDevice"].values()
        for device, told in classes["OetDevice"].items()
    }


def read_back(database: Database, device: str, names: Any) -> dict[str, list[str]]:
    return {name: list(value) for name, value in database.tango.get_device_property(device, list(names)).items()}


@pytest.mark.parametrize("options", [(), ("--all-properties",)], ids=["sites", "all"])
def test_the_database_has_what_the_file_says_and_a_second_time_changes_nothing(database, options):
    text = written("dsconfig", "--mid", "--subarrays", "3", *options)
    assert load(database, text) == CHANGED
    for number, (device, properties) in enumerate(devices_of(text).items(), 1):
        known = database.tango.get_device_info(device)
        assert (known.ds_full_name, known.class_name) == (f"OetDevice/{number:02}", "OetDevice")
        assert set(database.tango.get_device_property_list(device, "*")) == set(properties)
        assert read_back(database, device, properties) == properties
    (readers,) = json.loads(text)["classes"]["OetDevice"]["properties"].values()
    assert list(database.tango.get_class_property("OetDevice", "AllowedAccessCmd")["AllowedAccessCmd"]) == readers
    assert load(database, text) == NOTHING_TO_DO


@pytest.mark.long
def test_values_of_any_kind_arrive_as_they_were_given(database):
    given = {
        "ScriptRoots": ["/scripts", "/more scripts"],
        "GitRepositories": [""],
        "HistoryUrl": [r"""postgresql://oet:a'b"c%20;\\d\e,f@host/name"""],
        "RunTimeout": ["1." + "0" * 65_533],
    }
    options = [f"--property={name}={value}" for name, values in given.items() for value in values]
    text = written("dsconfig", "--low", *options)
    assert load(database, text) == CHANGED
    assert read_back(database, "low-oet/subarray/01", given) == given
    assert load(database, text) == NOTHING_TO_DO


@pytest.mark.long
def test_with_u_what_a_site_has_set_beside_it_stays(database):
    text = written("dsconfig", "--mid")
    load(database, text)
    database.put_properties("mid-oet/subarray/01", {"RunTimeout": "60"})
    database.tango.put_class_property("OetDevice", {"MaxProcedures": ["9"]})
    assert load(database, text, "--update") == NOTHING_TO_DO
    assert load(database, text) == CHANGED, "without it what the file does not have is taken away"
    assert read_back(database, "mid-oet/subarray/01", ["RunTimeout"]) == {"RunTimeout": []}
    assert list(database.tango.get_class_property("OetDevice", "MaxProcedures")["MaxProcedures"]) == []


def test_a_server_starts_from_it_and_goes_by_it(database, tmp_path):
    text = written("dsconfig", "--mid", "-p", f"ScriptRoots={SCRIPTS}", "-p", "MaxProcedures=1", "-p", "SpareWorkers=0")
    load(database, text)
    server = Server(["01", "-ORBendPoint", "giop:tcp:127.0.0.1:0"], tmp_path / "server", database.host)
    try:
        oet = Oet(database, "mid-oet/subarray/01", server)
        assert oet.proxy.state() == tango.DevState.ON, oet.proxy.status()
        (properties,) = devices_of(text).values()
        assert {name: list(oet.proxy.get_property(name)[name]) for name in properties} == properties
        uid = oet.ready("good.py")
        with pytest.raises(tango.DevFailed) as refused:
            oet.prepare("good.py")
        assert "MaxProcedures is 1" in reason_of(refused.value)[1]
        oet.stop(uid)
        assert load(database, text, "--update") == NOTHING_TO_DO, "a server that runs has changed nothing of it"
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()
    assert load(database, text, "--update") == NOTHING_TO_DO


@pytest.mark.long
def test_as_it_is_without_the_folder_of_its_scripts_the_device_says_what_is_missing(database, tmp_path):
    missing = tmp_path / "scripts"
    text = written("dsconfig", "--mid", "-p", f"ScriptRoots={missing}")
    load(database, text)
    server = Server(["01", "-ORBendPoint", "giop:tcp:127.0.0.1:0"], tmp_path / "server", database.host)
    try:
        oet = Oet(database, "mid-oet/subarray/01", server)
        assert str(missing) in oet.proxy.status()
        assert oet.proxy.state() in (tango.DevState.ALARM, tango.DevState.FAULT)
        missing.mkdir()
        oet.recorder.wait_for("State", lambda value: value == tango.DevState.ON)
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()
