"""Values that make no sense are refused before anything reaches a cluster, in a sentence that helps."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from support.charts import CHART, UMBRELLA, template, why_not

from ska_oet_device.config import Settings
from ska_oet_device.properties import PROPERTIES, settings_from

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.timeout(300)]

MINIMAL = {"tangoHost": "databaseds:10000"}

BAD = [
    ({"tangoHost": ""}, "no Tango database is named: set tangoHost"),
    ({"tangoHost": "databaseds"}, 'tangoHost is "databaseds", which is not HOST:PORT'),
    ({"telescop": "mid"}, "Additional property telescop is not allowed"),
    ({"telescope": "max"}, 'telescope must be one of the following: "mid", "low"'),
    ({"subarrays": []}, "subarrays: Array must have at least 1 items"),
    ({"subarrays": [{}]}, "id is required"),
    ({"subarrays": [{"id": 1}]}, 'two digits in quotation marks, such as "01"'),
    ({"subarrays": [{"id": "1"}]}, 'the id "1" of a subarray is not two digits from "01" to "99"'),
    ({"subarrays": [{"id": "00"}]}, "is not two digits"),
    ({"subarrays": [{"id": "03"}, {"id": "03"}]}, 'two subarrays have the id "03"'),
    ({"subarrays": [{"id": "01", "propertys": {}}]}, "Additional property propertys is not allowed"),
    ({"properties": {"StopGracePeriode": 5}}, "no property StopGracePeriode: is StopGracePeriod meant?"),
    ({"properties": {"script_roots": ["/x"]}}, "no property script_roots: is ScriptRoots meant?"),
    ({"properties": {"MaxMem": 1}}, "no property MaxMem: is MaxMemory meant?"),
    ({"properties": {"HistoryDay": 1}}, "no property HistoryDay: is HistoryDays meant?"),
    ({"properties": {"MaxProcedures": 1.5}}, "properties.MaxProcedures: Invalid type. Expected: [integer,string]"),
    ({"properties": {"MaxProcedures": 0}}, "properties.MaxProcedures: Must be greater than or equal to 1"),
    ({"properties": {"AlarmOnFailure": None}}, "Expected: [boolean,string], given: null"),
    ({"properties": {"Preload": 3}}, "properties.Preload: Invalid type. Expected: [array,string]"),
    ({"properties": {"GitTokenFile": "/" + "x" * 65_536}}, "String length must be less than or equal to 65535"),
    ({"properties": {"RunTimeout": "1 h"}}, 'property RunTimeout of subarray 01: "1 h" is not a number of seconds'),
    ({"properties": {"MaxMemory": "2 TB"}}, "is not a size from 0 to 1,000,000 GB, such as 512 MiB"),
    ({"properties": {"AbortScript": "file://é.py"}}, "is not ASCII; Tango's programs disagree"),
    ({"properties": {"GitTokenFile": '/a\\"b'}}, "a backslash before a quotation mark, which is lost"),
    (
        {"subarrays": [{"id": "01"}, {"id": "02", "properties": {"ScriptRoots": ["here"]}}]},
        'property ScriptRoots of subarray 02: "here" is not an absolute path',
    ),
    (
        {"properties": {"StopGracePeriod": 60}, "terminationGracePeriodSeconds": 60},
        "terminationGracePeriodSeconds of subarray 01 is 60: with its StopGracePeriod the end may take 90 s",
    ),
    (
        {"properties": {"StopGracePeriod": 20.5}, "operator": {"enabled": True}},
        "StopGracePeriod of subarray 01 is longer than 20 s: a DeviceServer of the operator cannot say",
    ),
    (
        {"operator": {"enabled": True}, "loadBalancer": {"enabled": True}},
        "the operator makes its own: operator.enableLoadBalancer",
    ),
    (
        {"operator": {"enabled": True}, "tangoHost": "10.0.0.5:10000"},
        'tangoHost is "10.0.0.5:10000": a DeviceServer of the operator has the name of a Tango database of its own',
    ),
    ({"operator": {"enabled": True}, "tangoHost": "databaseds.other.svc:10000"}, "of its own namespace, observing"),
    ({"global": {"operator": "no"}}, 'global.operator is "no": it is true or false, without quotation marks'),
    (
        {"properties": {"StateWhileRunning": True}},
        "is not RUNNING or ON: YAML takes ON without quotation marks",
    ),
    ({"state": None}, "state is required"),
    ({"probes": {"startup": None}}, "probes: startup is required"),
    ({"ports": {"orb": None}}, "ports: orb is required"),
    ({"sharedMemorySize": None}, "sharedMemorySize is required"),
    ({"labels": {"app.kubernetes.io/instance": "x"}}, "labels has app.kubernetes.io/instance, which the chart sets"),
    ({"labels": {"team": "a b"}}, "labels.team: Does not match pattern"),
    ({"scripts": {"volume": {"emptyDir": {}}, "mountPath": "/opt/oet/"}}, "the volume would hide /opt/oet: it needs a"),
    ({"scripts": {"volume": {"emptyDir": {}}, "mountPath": "/var"}}, "the volume would hide /var/lib/oet"),
    ({"history": {"existingSecret": {"name": "A B"}}}, "history.existingSecret.name: Does not match pattern"),
    ({"extraEnv": [{"name": "A B"}]}, "extraEnv.0.name: Does not match pattern"),
    (
        {
            "telemetry": {"enabled": True, "endpoint": "http://x:4318"},
            "extraEnv": [{"name": "TANGO_TELEMETRY_ENABLE", "value": "off"}],
        },
        "extraEnv has TANGO_TELEMETRY_ENABLE, which the chart sets itself",
    ),
    ({"state": {"persistence": {"enabled": False}}}, "the history would be lost with each pod"),
    (
        {"state": {"persistence": {"enabled": False}}, "properties": {"HistoryUrl": "sqlite:////tmp/history"}},
        "the history would be lost with each pod",
    ),
    ({"state": {"persistence": {"size": "20 GB"}}}, 'state.persistence.size is "20 GB", which is no quantity'),
    ({"subarrays": [{"id": "01", "state": {"size": "much"}}]}, 'subarrays[].state.size is "much"'),
    ({"properties": {"HistoryUrl": "postgresql://oet:secret@host/oet"}}, "has a password, which would stand"),
    ({"properties": {"HistoryUrl": "postgresql://oet:a/secret@host/oet"}}, "has a password, which would stand"),
    ({"properties": {"HistoryUrl": "postgresql://host/oet?user=oet&password=secret"}}, "has a password"),
    (
        {"properties": {"HistoryUrl": "postgresql://host/oet"}, "history": {"existingSecret": {"name": "url"}}},
        "subarray 01 has the property HistoryUrl, and history.existingSecret names another one",
    ),
    ({"scripts": {"volume": {"emptyDir": {}, "nfs": {}}}}, "scripts.volume has 2 sources (emptyDir, nfs)"),
    ({"scripts": {"volume": {"emptyDir": {}}, "mountPath": "scripts"}}, "scripts.mountPath"),
    ({"ports": {"orb": 80}}, "ports.orb: Must be greater than or equal to 1024"),
    ({"ports": {"event": 20460}}, "ports has one port twice"),
    ({"extraEnv": [{"name": "TANGO_HOST", "value": "x"}]}, "extraEnv has TANGO_HOST, which the chart sets itself"),
    ({"extraEnv": [{"name": "A"}, {"name": "A"}]}, "extraEnv has A twice"),
    ({"telemetry": {"enabled": True}}, "telemetry.enabled needs telemetry.endpoint"),
    ({"loadBalancer": {"enabled": True}}, "the address by which clients reach subarray 01"),
    ({"probes": {"liveness": {"timeout": 3}}}, "probes.liveness: Additional property timeout is not allowed"),
    ({"image": {"pullPolicy": "Sometimes"}}, 'must be one of the following: "Always", "IfNotPresent", "Never"'),
    ({"updateStrategy": "Recreate"}, 'must be one of the following: "OnDelete", "RollingUpdate"'),
    ({"logLevel": "TRACE"}, 'must be one of the following: "WARNING", "INFO", "DEBUG"'),
]


@pytest.mark.parametrize(("values", "sentence"), BAD, ids=lambda value: value[:50] if isinstance(value, str) else "")
def test_what_makes_no_sense_is_refused_in_a_sentence_that_helps(values, sentence):
    done = template({**MINIMAL, **values})
    assert done.returncode != 0, done.stdout
    assert sentence in done.stderr
    assert "nil pointer" not in done.stderr
    assert "secret@" not in done.stderr


def test_all_that_is_wrong_is_told_at_once():
    done = template({"subarrays": [{"id": "1"}, {"id": "02"}, {"id": "02"}], "scripts": {"volume": {"a": {}, "b": {}}}})
    for sentence in ("no Tango database", 'the id "1"', 'the id "02"', "scripts.volume has 2 sources"):
        assert sentence in done.stderr


ODD = (
    *("", " ", "0", "1", "-1", "+5", "007", " 5 ", "5 s", "1.5", ".5", "5.", "1e3", "1e400", "1e-400", "0e999", "0x10"),
    *("nan", "inf", "2000000", "2000001", "36500", "36501", "64", "65", "10000", "10001", "100000", "100001"),
    *("2147483647", "2147483648", "999999999999999999", "9" * 19, "1_000", "1,000", "1 2"),
    *("512 MiB", "512MiB", " 20 GB", "20 gb", "1000000 GB", "1000001 GB", "1.5 GiB", "64 B", "1000000000000000 B"),
    *("1000000000000001 B", "953674316", "953674317", "MiB", "1e3 MiB", "5 MiB s"),
    *("/", "/a b", "a/b", "/a\nb", "/" + "x" * 4094, "/" + "x" * 4095, "file://a.py", "file:/a.py", "FILE://a"),
    *(
        "https://",
        "http://x@y/",
        "git://h/",
        "ssh://a@h:1/x y",
        "git@host:x",
        "user@host",
        "ftp://host/",
        "https://a b/",
    ),
    *(
        "postgresql://h/n",
        "postgresql+psycopg://h/n",
        "sqlite://",
        "a b://x",
        "https://" + "x" * 1016,
        "s://" + "x" * 1021,
    ),
    *("x://u:p@h/n", "x://u:p/q@h/n", "x://u:p@q@h/n", "x://[::1]:5432/n", "x://h:port/n", "x://u@h", "x:///n?a=b@c"),
    *("a", "a.b", "a..b", "class", "a.None", " a ", "a. b", "_x1", "1x", "a-b", "match"),
    *("true", "FALSE", "Yes", "off", "2", "running", " On ", "RUNNING ON", "OFF"),
)
"""Texts at which a rule may be wrong; none that a database would not keep."""


def device_takes(name, text):
    _, problems = settings_from({name: [text]}, Settings(), 1)
    return not problems


def test_the_chart_judges_each_property_as_the_device_does():
    pairs = [(item.name, text) for item in PROPERTIES for text in ODD]
    verdicts = {}
    for start in range(0, len(pairs), 99):
        some = pairs[start : start + 99]
        several = {item.name for item in PROPERTIES if item.several}
        subarrays = [
            {"id": f"{number:02}", "properties": {name: [text] if name in several else text}}
            for number, (name, text) in enumerate(some, 1)
        ]
        done = template({**MINIMAL, "state": {"acceptLoss": True}, "subarrays": subarrays})
        refused = set(re.findall(r"property (\w+) of subarray (\d\d)", done.stderr))
        assert bool(done.returncode) == bool(refused), done.stderr
        verdicts |= {pair: (pair[0], f"{number:02}") not in refused for number, pair in enumerate(some, 1)}
    wrong = [pair for pair, is_taken in verdicts.items() if is_taken != device_takes(*pair)]
    assert not wrong


def objects_of(schema, path=""):
    """Yield the objects that a schema tells of, by their paths."""
    if "properties" in schema:
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from objects_of(inner, f"{path}.{name}")
    for name, inner in schema.get("definitions", {}).items():
        yield from objects_of(inner, f"definitions.{name}")
    if isinstance(schema.get("items"), dict):
        yield from objects_of(schema["items"], f"{path}[]")


OPEN = {(CHART, "definitions.properties"), (UMBRELLA, ".global")}
"""Of the first the templates name the nearest; the second is for all charts of a release."""


@pytest.mark.parametrize("chart", [CHART, UMBRELLA], ids=lambda chart: chart.name)
def test_the_schema_is_strict_and_says_what_each_value_means(chart):
    schema = json.loads((chart / "values.schema.json").read_text())
    for path, told in objects_of(schema):
        assert (told.get("additionalProperties") is False) != ((chart, path) in OPEN), path
        for name, value in told["properties"].items():
            items = "[]" in path and name in ("name", "value", "valueFrom")
            assert value.get("description") or value.get("$ref") or items, f"{path}.{name}"


@pytest.mark.parametrize("chart", [CHART, UMBRELLA], ids=lambda chart: chart.name)
def test_values_yaml_has_all_that_the_schema_tells_of(chart):
    def missing(schema, values, path):
        told = schema.get("properties", {})
        yield from (f"{path}{name}" for name in told.keys() - values.keys() - {"global"})
        for name in told.keys() & values.keys():
            if isinstance(values[name], dict) and name not in ("properties", "resources"):
                yield from missing(told[name], values[name], f"{path}{name}.")

    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    assert list(missing(schema, values, "")) == []
