"""The umbrella: its dependency needs no network; its database's probe notices what DatabaseDS survives badly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.charts import CHARTS, PROGRAMS, has_null, helm, objects, of_kind, render, template, why_not
from support.mariadb import why_not as why_no_mariadb
from support.waiting import wait_until

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def umbrella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with its dependency in it."""
    folder = tmp_path_factory.mktemp("charts")
    for name in ("ska-oet-device", "ska-oet-device-umbrella"):
        shutil.copytree(CHARTS / name, folder / name, ignore=shutil.ignore_patterns("*.tgz", "charts"))
    chart = folder / "ska-oet-device-umbrella"
    done = helm("dependency", "build", str(chart))
    assert done.returncode == 0, done.stderr
    return chart


VARIANTS = [
    {},
    {"tangodb": {"persistence": {"enabled": True, "storageClass": "fast"}, "existingSecret": "mine"}},
    {"ska-oet-device": {"subarrays": [{"id": "05"}], "properties": {"RunTimeout": 60}}},
    {"ska-oet-device": {"podSecurityContext": {"fsGroup": None, "supplementalGroups": None}}},
    {"global": {"tango_host": "on:10000"}, "tangodb": {"database": "1e3", "user": "on", "existingSecret": "123"}},
]


@pytest.mark.parametrize("values", VARIANTS, ids=["as it is", "kept", "one subarray", "null", "odd names"])
def test_it_is_what_kubernetes_takes(umbrella, values, tmp_path):
    linted = helm("lint", "--strict", str(umbrella))
    assert linted.returncode == 0, linted.stdout + linted.stderr
    file = tmp_path / "rendered.yaml"
    file.write_text(render(values, chart=umbrella))
    command = [str(PROGRAMS / "kubernetes-validate"), "-k", "1.31", "--strict", str(file)]
    validated = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert validated.returncode == 0, validated.stdout + validated.stderr
    assert not has_null(objects(file.read_text()))


def test_servers_and_registration_ask_the_database_that_it_brings(umbrella):
    rendered = objects(render({"global": {"tango_host": "other-name:20000"}}, chart=umbrella))
    names = {
        each["metadata"]["name"]: each["kind"] for each in rendered if each["kind"] in ("Deployment", "StatefulSet")
    }
    assert names["other-name"] == "Deployment"
    assert names["other-name-tangodb"] == "StatefulSet"
    service = next(each for each in of_kind("Service", rendered) if each["metadata"]["name"] == "other-name")
    assert service["spec"]["ports"][0]["port"] == 20000
    told = [
        variable["value"]
        for each in [*of_kind("StatefulSet", rendered), *of_kind("Job", rendered)]
        for container in each["spec"]["template"]["spec"]["containers"]
        for variable in container["env"]
        if variable["name"] == "TANGO_HOST"
    ]
    assert told == ["other-name:20000"] * 3, "two subarrays and the Job"
    for each in (*of_kind("Deployment", rendered), *of_kind("StatefulSet", rendered)):
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()
    passwords = [key for each in of_kind("Secret", rendered) for key in each["stringData"]]
    assert sorted(passwords) == ["password", "root-password"]
    assert "stringData" not in json.dumps(of_kind("ConfigMap", rendered))


def test_devices_are_registered_once_more_as_the_notes_say(umbrella):
    jobs = [
        of_kind("Job", objects(render({}, *options, chart=umbrella)))[0]["metadata"]["name"]
        for options in ((), ("--set", "ska-oet-device.registration.revision=2"))
    ]
    assert len(set(jobs)) == 2


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"tangodb": {"pasword": "x"}}, "tangodb: Additional property pasword is not allowed"),
        ({"tangodb": {"persistence": {"size": "1 GB"}}}, "tangodb.persistence.size: Does not match pattern"),
        ({"ska-oet-device": {"state": {"persistence": None}}}, "state: persistence is required"),
        ({"databaseds": {"image": {"tag": ""}}}, "databaseds.image.tag: String length must be greater"),
        ({"ska-oet-device": {"telescope": "max"}}, 'telescope must be one of the following: "mid", "low"'),
        ({"ska-oet-device": {"properties": {"RunTimout": 3}}}, "is RunTimeout meant?"),
    ],
)
def test_what_makes_no_sense_is_refused(umbrella, values, sentence):
    done = template(values, chart=umbrella)
    assert done.returncode != 0
    assert sentence in done.stderr


@pytest.mark.long
@pytest.mark.skipif(bool(why_no_mariadb()), reason=why_no_mariadb())
@pytest.mark.skipif(
    not shutil.which("tango_admin"), reason="tango_admin is not installed: apt-get install libtango-tools"
)
def test_the_databases_probe_fails_when_mariadb_was_started_anew_until_databaseds_is(umbrella, mariadb, tmp_path):
    (deployment,) = of_kind("Deployment", objects(render({}, chart=umbrella)))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    def probe() -> int:
        command = container["livenessProbe"]["exec"]["command"]
        environment = {**os.environ, "TANGO_HOST": mariadb.host}
        return subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode

    wait_until(lambda: probe() == 0, 60, "the probe succeeds")
    mariadb.server.kill()
    assert probe() != 0
    mariadb.server.start()
    assert probe() != 0, "DatabaseDS has not noticed"
    mariadb.kill_and_start_again()
    assert probe() == 0
