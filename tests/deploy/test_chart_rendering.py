"""What helm makes of each example, and of the defaults: valid for Kubernetes, and as the chart promises."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import jsonschema
import pytest
import yaml
from support.charts import (
    CHART,
    CHARTS,
    EXAMPLES,
    PROGRAMS,
    generated,
    has_null,
    helm,
    objects,
    of_kind,
    render,
    why_not,
)
from support.pods import environment_of
from support.tango_server import program

from ska_oet_device import __version__

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.timeout(300)]

MINIMAL = {"tangoHost": "databaseds:10000"}
WAYS = {"statefulsets": (), "operator": ("--set", "operator.enabled=true")}
FOR_ONE_WAY = {("outside-clients", "operator"), ("two-subarrays", "operator"), ("mid-16-subarrays", "operator")}
"""Examples that the other way refuses, as the tests of bad values have it."""
EXAMPLES_BY_WAY = [
    pytest.param(path, way, id=f"{path.stem}-{way}")
    for path in EXAMPLES
    for way in WAYS
    if (path.stem, way) not in FOR_ONE_WAY
]
YAMLLINT = """
extends: relaxed
rules:
  line-length: disable
  trailing-spaces: disable  # blank lines of a program are indented in a ConfigMap
  indentation: {indent-sequences: whatever}  # helm's own lists are not
"""


def pods_of(rendered):
    """Return the pod templates, by the name of what makes them."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in rendered
        if each["kind"] in ("StatefulSet", "Job", "Deployment")
    }


def test_versions_and_generated_files_are_up_to_date():
    for path, text in generated().items():
        assert path.read_text() == text, f"{path}: make site-files writes it anew"
    for chart in ("ska-oet-device", "ska-oet-device-umbrella"):
        told = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
        assert (told["version"], told["appVersion"]) == (__version__, __version__), chart
        for each in told.get("dependencies", []):
            assert each["version"] == __version__, chart


@pytest.mark.parametrize(("path", "way"), EXAMPLES_BY_WAY)
def test_an_example_is_what_kubernetes_takes(path, way, tmp_path):
    done = helm("lint", "--strict", str(CHART), "--values", str(path), *WAYS[way])
    assert done.returncode == 0, done.stdout + done.stderr
    text = render(path, *WAYS[way])
    rendered = objects(text)
    assert not has_null(rendered), "a null is refused where a text, a list or an object is wanted"
    schema = json.loads((CHART.parents[1] / "tests/deploy/deviceserver.schema.json").read_text())
    device_servers = of_kind("DeviceServer", rendered)
    assert bool(device_servers) == (way == "operator" or path.stem == "low-operator")
    for each in device_servers:
        jsonschema.validate(each, schema)
        json.loads(each["spec"]["config"])
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(each for each in rendered if each["kind"] != "DeviceServer"))
    validated = run("kubernetes-validate", "-k", "1.31", "--strict", str(file))
    assert validated.returncode == 0, validated.stdout + validated.stderr
    file.write_text(text)
    linted = run("yamllint", "--strict", "-d", YAMLLINT, str(file))
    assert linted.returncode == 0, linted.stdout


def run(name, *arguments):
    return subprocess.run([str(PROGRAMS / name), *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_names_fit_selectors_match_and_secrets_are_named_only(path):
    rendered = objects(render(path, release="a-release-with-a-name-of-53-characters-which-is-mostx"))
    pods = [pod["metadata"]["labels"] for pod in pods_of(rendered).values()]
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered]
    assert len(names) == len(set(names))
    for kind, name in names:
        assert len(name) <= (52 if kind == "StatefulSet" else 63), name  # its pods' label has a hash behind it
        assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name), name
    for each in rendered:
        spec = each.get("spec", {})
        selector = spec.get("selector", {})
        wanted = selector.get("matchLabels", selector) if each["kind"] != "Job" else {}
        if wanted:
            found = [labels for labels in pods if wanted.items() <= labels.items()]
            servers = len(of_kind("StatefulSet", rendered))
            assert len(found) == (servers if each["kind"] == "PodDisruptionBudget" else 1), each["metadata"]["name"]
        if each["kind"] == "StatefulSet":
            assert wanted.items() <= spec["template"]["metadata"]["labels"].items()
            assert spec["serviceName"] in [name for kind, name in names if kind == "Service"]
            for constraint in spec["template"]["spec"].get("topologySpreadConstraints", []):
                spread = constraint["labelSelector"]["matchLabels"]
                assert sum(spread.items() <= labels.items() for labels in pods) == servers
    assert "secretKeyRef" not in json.dumps(of_kind("ConfigMap", rendered))
    assert not re.search(r"://[^/@\s]*:[^/@\s]*@", json.dumps(rendered)), "a password"


def test_every_example_and_the_chart_can_be_packaged(tmp_path):
    done = helm("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    package = tmp_path / f"ska-oet-device-{__version__}.tgz"
    for path in EXAMPLES:
        assert objects(render(path, chart=package)) == objects(render(path)), path.stem


def test_pods_have_no_rights():
    for name, pod in pods_of(objects(render(MINIMAL))).items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            volumes = {volume["name"] for volume in spec["volumes"]}
            claims = {"state"} if name.endswith("-01") else set()
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes | claims
            assert container["resources"]["limits"]["memory"]


def test_a_null_leaves_a_field_of_a_security_context_to_the_cluster():
    for name, pod in pods_of(objects(render(CHART / "examples/hardened.yaml"))).items():
        context = pod["spec"]["securityContext"]
        assert context.keys() == {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"}, name


@pytest.mark.parametrize(
    ("properties", "own", "seconds"),
    [
        ({}, {}, 35),
        ({"StopGracePeriod": 60}, {}, 90),
        ({"StopGracePeriod": 60}, {"properties": {"StopGracePeriod": " 0.5 "}}, 31),
        ({"StopGracePeriod": 2000000}, {}, 2000030),
        ({"StopGracePeriod": ""}, {"terminationGracePeriodSeconds": 35}, 35),
        ({"StopGracePeriod": "1e3"}, {"terminationGracePeriodSeconds": 3600}, 3600),
    ],
)
def test_a_pod_has_the_time_that_its_scripts_have(properties, own, seconds):
    values = {**MINIMAL, "properties": properties, "subarrays": [{"id": "07", **own}]}
    (server,) = of_kind("StatefulSet", objects(render(values)))
    assert server["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == seconds


def test_a_job_has_another_name_when_it_has_another_content_and_only_then():
    def name(**values):
        (job,) = of_kind("Job", objects(render({**MINIMAL, **values})))
        return job["metadata"]["name"]

    assert name() == name(resources={"limits": {"memory": "1Gi"}})
    others = [
        name(properties={"RunTimeout": 60}),
        name(image={"tag": "0.3.0"}),
        name(tangoHost="other:10000"),
        name(subarrays=[{"id": "02"}]),
        name(labels={"a": "b"}),
        name(registration={"activeDeadlineSeconds": 60}),
        name(registration={"revision": "2"}),
        name(podSecurityContext={"runAsUser": 2000}),
    ]
    assert len({name(), *others}) == 1 + len(others)


def test_a_variable_stands_behind_those_that_it_names():
    for path in EXAMPLES:
        for name, pod in pods_of(objects(render(path))).items():
            for container in pod["spec"]["containers"]:
                before: set[str] = set()
                for variable in container["env"]:
                    assert set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) <= before, (path.stem, name)
                    assert variable["name"] not in before, "twice"
                    before.add(variable["name"])


def test_a_probe_has_more_time_than_what_it_runs():
    (server,) = of_kind("StatefulSet", objects(render(MINIMAL)))
    (container,) = server["spec"]["template"]["spec"]["containers"]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[name]
        text = " ".join(probe["exec"]["command"])
        (allowed,) = (int(seconds) for seconds in re.findall(r"--timeout (\d+)", text))
        assert allowed < probe["timeoutSeconds"], name
        assert "$(" not in text, "a kubelet replaces nothing that comes from the downward API in a probe"
        assert probe["timeoutSeconds"] <= probe["periodSeconds"], name
    for name in ("startupProbe", "livenessProbe"):
        assert container[name]["periodSeconds"] * container[name]["failureThreshold"] >= 600, "it kills scripts"


def test_the_ports_are_none_that_linux_gives_to_clients():
    for service in of_kind("Service", objects(render(MINIMAL))):
        assert all(1024 <= port["port"] < 32768 for port in service["spec"]["ports"])


@pytest.mark.parametrize(
    ("level", "arguments"), [("WARNING", ["07", "-v0"]), ("INFO", ["07"]), ("DEBUG", ["07", "-v3"])]
)
def test_a_level_of_the_log_is_an_argument_unless_the_property_is_to_say_it(level, arguments):
    values = {**MINIMAL, "logLevel": level, "subarrays": [{"id": "07"}]}
    (server,) = of_kind("StatefulSet", objects(render(values)))
    assert server["spec"]["template"]["spec"]["containers"][0]["args"] == arguments


def test_traces_go_where_the_values_say_by_tangos_variables():
    values = {**MINIMAL, "telemetry": {"enabled": True, "endpoint": "http://collector:4318/v1/traces"}}
    (server,) = of_kind("StatefulSet", objects(render(values)))
    environment = environment_of(server["spec"]["template"]["spec"]["containers"][0], {"POD_IP": "192.0.2.1"})
    assert {name: text for name, text in environment.items() if "TELEMETRY" in name} == {
        "TANGO_TELEMETRY_ENABLE": "on",
        "TANGO_TELEMETRY_TYPES": "tracing",
        "TANGO_TELEMETRY_TRACING_EXPORTERS": "http",
        "TANGO_TELEMETRY_TRACING_ENDPOINTS": "http://collector:4318/v1/traces",
    }
    assert environment["ORBendPoint"] == "giop:tcp:192.0.2.1:20450"


def test_an_upgrade_restarts_nothing_unless_it_is_asked_to():
    def update(**values):
        (server,) = of_kind("StatefulSet", objects(render({**MINIMAL, **values})))
        return server["spec"]["updateStrategy"], server["spec"]["template"]

    assert update()[0] == {"type": "OnDelete"}
    assert update(updateStrategy="RollingUpdate")[0] == {"type": "RollingUpdate"}
    assert update(properties={"RunTimeout": 60})[1] == update()[1], "properties take effect by Init"


def test_subarrays_differ_in_what_they_say_themselves():
    values = {
        **MINIMAL,
        "extraEnv": [{"name": "A", "value": "all"}, {"name": "B", "value": "all"}],
        "nodeSelector": {"a": "b"},
        "subarrays": [
            {"id": "01"},
            {
                "id": "02",
                "extraEnv": [{"name": "B", "value": "own"}],
                "nodeSelector": {"c": "d"},
                "resources": {"limits": {"memory": "64Gi"}},
                "state": {"existingClaim": "mine"},
                "priorityClassName": "high",
            },
        ],
    }
    first, second = (server["spec"] for server in of_kind("StatefulSet", objects(render(values))))
    one, other = (spec["template"]["spec"] for spec in (first, second))
    for pod in (one, other):
        names = [each["name"] for each in pod["containers"][0]["env"]]
        assert len(names) == len(set(names)), "a variable that is there twice cannot be applied"
    values_of = [{each["name"]: each.get("value") for each in pod["containers"][0]["env"]} for pod in (one, other)]
    assert [(each["A"], each["B"]) for each in values_of] == [("all", "all"), ("all", "own")]
    assert (one["nodeSelector"], other["nodeSelector"]) == ({"a": "b"}, {"c": "d"})
    assert (other["priorityClassName"], "priorityClassName" in one) == ("high", False)
    assert other["containers"][0]["resources"] == {"limits": {"memory": "64Gi"}}
    assert first["volumeClaimTemplates"]
    assert "volumeClaimTemplates" not in second
    claims = [volume["persistentVolumeClaim"] for volume in other["volumes"] if volume["name"] == "state"]
    assert claims == [{"claimName": "mine"}]


def test_volumes_of_scripts_tokens_and_memory_are_where_the_device_looks_for_them():
    values = {
        **MINIMAL,
        "scripts": {"volume": {"configMap": {"name": "our-scripts"}}, "mountPath": "/observing"},
        "gitTokens": {"existingSecret": {"name": "git", "key": "file"}},
        "sharedMemorySize": "3Gi",
    }
    rendered = objects(render(values))
    (server,) = of_kind("StatefulSet", rendered)
    pod = server["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert volumes["scripts"]["configMap"] == {"name": "our-scripts"}
    assert mounts["scripts"] == {"name": "scripts", "mountPath": "/observing", "readOnly": True}
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "3Gi"}
    assert mounts["shared-memory"]["mountPath"] == "/dev/shm"
    assert volumes["git-tokens"]["secret"]["defaultMode"] == 0o440
    configuration = next(each for each in of_kind("ConfigMap", rendered) if "dsconfig.json" in each["data"])
    (device,) = json.loads(configuration["data"]["dsconfig.json"])["servers"]["OetDevice"]["01"]["OetDevice"].values()
    token_file = f"{mounts['git-tokens']['mountPath']}/{volumes['git-tokens']['secret']['items'][0]['path']}"
    assert device["properties"] == {"ScriptRoots": ["/observing"], "GitTokenFile": [token_file]}


def test_the_class_property_for_readers_is_that_of_oet_config():
    written = subprocess.run(
        [program("oet"), "config", "dsconfig", "--mid"], check=True, capture_output=True, text=True, timeout=60
    )
    configuration = next(
        each for each in of_kind("ConfigMap", objects(render(MINIMAL))) if "dsconfig.json" in each["data"]
    )
    assert json.loads(configuration["data"]["dsconfig.json"])["classes"] == json.loads(written.stdout)["classes"]


def test_both_ways_write_the_same_into_the_database():
    values = {
        **MINIMAL,
        "scripts": {"volume": {"configMap": {"name": "scripts"}}},
        "properties": {"MaxMemory": "1 GiB", "Preload": ["json"], "AlarmOnFailure": True},
        "subarrays": [{"id": "01"}, {"id": "42", "properties": {"RunTimeout": 2000000}}],
    }
    told = next(each for each in of_kind("ConfigMap", objects(render(values))) if "dsconfig.json" in each["data"])
    whole = json.loads(told["data"]["dsconfig.json"])
    for each in of_kind("DeviceServer", objects(render(values, *WAYS["operator"]))):
        part = json.loads(each["spec"]["config"])
        instance = each["spec"]["args"]
        assert part["servers"]["OetDevice"] == {instance: whole["servers"]["OetDevice"].pop(instance)}
        assert part["classes"] == whole["classes"]
    assert whole["servers"] == {"OetDevice": {}}


def test_with_the_operator_a_claim_outlives_the_release_and_nothing_else_is_made():
    rendered = objects(render(CHART / "examples/low-operator.yaml"))
    assert {each["kind"] for each in rendered} == {"DeviceServer", "PersistentVolumeClaim"}
    claims = {each["metadata"]["name"] for each in of_kind("PersistentVolumeClaim", rendered)}
    for each in of_kind("DeviceServer", rendered):
        spec = each["spec"]
        assert {
            volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"] if volume["name"] == "state"
        } <= claims
        ((instance, classes),) = json.loads(spec["config"])["servers"]["OetDevice"].items()
        assert instance == spec["args"]
        assert list(classes["OetDevice"]) == [f"low-oet/subarray/{instance}"]
    for each in of_kind("PersistentVolumeClaim", rendered):
        assert each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize("way", WAYS)
def test_notes_name_a_pod_that_there_is(way, tmp_path):
    """Without a cluster helm shows no notes: here they are put into a ConfigMap, as they are."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "NOTES.txt")
    text = '{{ tpl (.Files.Get "NOTES.txt") . | quote }}'
    wrapped = f"{{kind: ConfigMap, apiVersion: v1, metadata: {{name: notes}}, data: {{it: {text}}}}}"
    (chart / "templates" / "notes.yaml").write_text(wrapped)
    rendered = objects(render({**MINIMAL, "telescope": "low"}, *WAYS[way], chart=chart))
    notes = next(each for each in rendered if each["metadata"]["name"] == "notes")["data"]["it"]
    (server,) = of_kind("StatefulSet" if way == "statefulsets" else "DeviceServer", rendered)
    command = f"exec {server['metadata']['name']}-0 -- oet health low-oet/subarray/01"
    assert (command in notes) == (way == "statefulsets"), "the operator's pods have names of its own"
    assert "low-oet/subarray/01" in notes
    assert (f"delete pod {server['metadata']['name']}-0" in notes) == (way == "statefulsets")
    assert "No volume with scripts" in notes
