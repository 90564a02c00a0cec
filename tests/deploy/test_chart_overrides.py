"""What a subarray says goes before what is said for all, also where it says nothing, none, no or zero."""

from __future__ import annotations

import json

import pytest
from support.charts import objects, of_kind, render, why_not

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.timeout(300)]

MINIMAL = {"tangoHost": "databaseds:10000"}
WAYS = {"statefulsets": {}, "operator": {"operator": {"enabled": True}}}


def properties_of(rendered):
    """Return the properties of the only device, by the ConfigMap of the Job or the DeviceServer."""
    texts = [
        each["data"]["dsconfig.json"] for each in of_kind("ConfigMap", rendered) if "dsconfig.json" in each["data"]
    ]
    texts += [each["spec"]["config"] for each in of_kind("DeviceServer", rendered)]
    (text,) = texts
    return json.loads(text)["servers"]["OetDevice"]["01"]["OetDevice"]["mid-oet/subarray/01"]["properties"]


@pytest.mark.parametrize("way", WAYS)
def test_a_property_of_a_subarray_goes_before_that_of_all_also_when_it_is_zero_false_or_empty(way):
    for_all = {
        "StopGracePeriod": 15,
        "SpareWorkers": 3,
        "AlarmOnFailure": True,
        "GitRepositories": ["https://host/"],
        "RunTimeout": 60,
        "MaxProcedures": 7,
    }
    own = {"StopGracePeriod": 0, "SpareWorkers": 0, "AlarmOnFailure": False, "GitRepositories": [], "RunTimeout": ""}
    values = {**MINIMAL, **WAYS[way], "properties": for_all, "subarrays": [{"id": "01", "properties": own}]}
    rendered = objects(render(values))
    assert properties_of(rendered) == {
        "StopGracePeriod": ["0"],
        "SpareWorkers": ["0"],
        "AlarmOnFailure": ["false"],
        "GitRepositories": [""],
        "RunTimeout": [""],
        "MaxProcedures": ["7"],
    }
    for server in of_kind("StatefulSet", rendered):
        assert server["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 30


@pytest.mark.parametrize("way", WAYS)
def test_a_subarray_can_do_without_what_is_said_for_all(way):
    for_all = {
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "resources": {"requests": {"cpu": 2}},
    }
    own = {"nodeSelector": {}, "tolerations": [], "affinity": {}, "priorityClassName": "", "resources": {}}
    subarrays = [{"id": "01", **own}, {"id": "02"}]
    rendered = objects(render({**MINIMAL, **WAYS[way], **for_all, "subarrays": subarrays}))
    if way == "operator":
        first, second = (each["spec"] for each in of_kind("DeviceServer", rendered))
        assert [first["resources"], second["resources"]["requests"]["cpu"]] == [{}, 2]
        del for_all["priorityClassName"]
    else:
        first, second = (each["spec"]["template"]["spec"] for each in of_kind("StatefulSet", rendered))
        (one,), (other,) = first["containers"], second["containers"]
        assert [one["resources"], other["resources"]["requests"]["cpu"]] == [{}, 2]
    del for_all["resources"]
    assert not for_all.keys() & first.keys()
    assert {name: second[name] for name in for_all} == for_all


def test_a_constraint_that_has_a_selector_of_its_own_keeps_that_as_it_is():
    constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    own = {"labelSelector": {"matchLabels": {"a": "b"}}}
    rendered = objects(render({**MINIMAL, "topologySpreadConstraints": [constraint | own, constraint]}))
    (server,) = of_kind("StatefulSet", rendered)
    first, second = server["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert first == constraint | own
    labels = server["spec"]["template"]["metadata"]["labels"]
    assert second["labelSelector"]["matchLabels"].items() <= labels.items()
    assert "ska-oet-device/subarray" not in second["labelSelector"]["matchLabels"], "subarrays are to be spread"
