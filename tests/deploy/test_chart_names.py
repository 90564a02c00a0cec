"""A site's own names arrive as texts, whatever YAML would take them for; what Kubernetes refuses is refused before."""

from __future__ import annotations

import subprocess

import pytest
from support.charts import PROGRAMS, objects, of_kind, render, template, why_not

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.timeout(300)]

MINIMAL = {"tangoHost": "databaseds:10000"}
OTHERWISE = ["123", "1e3", "0x1f", "on", "yes", "null", "true"]
"""Good names of Kubernetes that YAML takes for something else."""


def validate(rendered, folder):
    """Hold what helm has written against the schemas of Kubernetes."""
    file = folder / "rendered.yaml"
    file.write_text(rendered)
    command = [str(PROGRAMS / "kubernetes-validate"), "-k", "1.31", "--strict", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_name_is_a_text_whatever_yaml_would_take_it_for(name, tmp_path):
    values = {
        **MINIMAL,
        "nameOverride": name,
        "fullnameOverride": "oet",
        "priorityClassName": name,
        "serviceAccount": {"name": name},
        "history": {"existingSecret": {"name": name, "key": name}},
        "gitTokens": {"existingSecret": {"name": name, "key": name}},
        "loadBalancer": {"enabled": True, "loadBalancerClass": name},
        "labels": {"team": name},
        "scripts": {"volume": {"emptyDir": {}}, "mountPath": "/a #b"},
        "subarrays": [{"id": "01", "state": {"existingClaim": name}, "loadBalancer": {"address": name}}],
    }
    rendered = render(values, release=name)
    validate(rendered, tmp_path)
    (server,) = of_kind("StatefulSet", objects(rendered))
    pod = server["spec"]["template"]["spec"]
    assert {"app.kubernetes.io/name": name, "team": name}.items() <= server["metadata"]["labels"].items()
    assert server["metadata"]["labels"]["app.kubernetes.io/instance"] == name
    assert [pod["priorityClassName"], pod["serviceAccountName"]] == [name, name]
    assert "/a #b" in [each["mountPath"] for each in pod["containers"][0]["volumeMounts"]]


@pytest.mark.parametrize("release", ["1oet", "oet.night"])
def test_a_release_whose_name_no_service_can_have_is_refused_unless_it_gets_another_name(release):
    done = template(MINIMAL, release=release)
    assert done.returncode != 0
    assert f'"{release}-ska-oet-device", of the name of the release, cannot begin the name of a Service' in done.stderr
    assert "set fullnameOverride" in done.stderr
    template_again = template({**MINIMAL, "fullnameOverride": "oet"}, release=release)
    assert template_again.returncode == 0, template_again.stderr


def test_the_operator_is_given_the_name_of_a_database_in_the_releases_namespace():
    for host in ("databaseds:10000", "databaseds.observing:10000", "databaseds.observing.svc.cluster.local:10000"):
        rendered = objects(render({"tangoHost": host, "operator": {"enabled": True}}))
        assert [each["spec"]["databaseds"] for each in of_kind("DeviceServer", rendered)] == ["databaseds"]


def test_a_revision_of_the_registration_may_be_a_number_as_helm_reads_it_from_set():
    jobs = [
        of_kind("Job", objects(render(MINIMAL, "--set", f"registration.revision={revision}")))[0]["metadata"]["name"]
        for revision in (1, 2, "again")
    ]
    assert len(set(jobs)) == 3
