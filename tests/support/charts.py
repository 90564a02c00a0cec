"""The Helm charts: rendered by the real helm, and what in them is made of the device's own tables.

``python -m support.charts`` writes the latter anew; `make site-files` calls it.
"""

from __future__ import annotations

import json
import keyword
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ska_oet_device import properties
from ska_oet_device.config import LONGEST_PATH
from ska_oet_device.properties import PROPERTIES, Property
from ska_oet_device.site_files import LONGEST_ELEMENT, READERS_COMMANDS

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"
CHART = CHARTS / "ska-oet-device"
UMBRELLA = CHARTS / "ska-oet-device-umbrella"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
PROGRAMS = ROOT / ".venv-deploy" / "bin"

_LONGEST_URL = 1024  # characters, as properties.py has it
_KEYWORDS = rf"(^|\.)\s*({'|'.join(keyword.kwlist)})\s*(\.|$)"
_UNITS = {"B": 1, "kB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2, "GB": 1000**3, "GiB": 1024**3}
_BOUNDS = re.compile(r"from ([\d,]+) to ([\d,]+)( GB)?")


def why_not() -> str:
    """Return why charts cannot be rendered here; empty if they can."""
    return "" if (PROGRAMS / "helm").exists() else "helm is not installed: make .venv-deploy/.up-to-date"


def helm(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm, whatever it ends with."""
    command = [str(PROGRAMS / "helm"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


def render(values: Mapping[str, Any] | Path, *options: str, chart: Path = CHART, release: str = "oet") -> str:
    """Return what helm makes of values, or of a file of them.

    :raises AssertionError: helm refuses them; its words
    """
    done = template(values, *options, chart=chart, release=release)
    assert done.returncode == 0, done.stderr
    return done.stdout


def template(
    values: Mapping[str, Any] | Path, *options: str, chart: Path = CHART, release: str = "oet"
) -> subprocess.CompletedProcess[str]:
    """Have helm render values, or a file of them; return how that went."""
    given = values.read_text() if isinstance(values, Path) else json.dumps(values)
    command = [str(PROGRAMS / "helm"), "template", release, str(chart), "--namespace", "observing", "--values", "-"]
    return subprocess.run([*command, *options], input=given, capture_output=True, text=True, timeout=120)


def objects(rendered: str) -> list[dict[str, Any]]:
    """Return the objects in what helm has written."""
    return [each for each in yaml.safe_load_all(rendered) if each]


def of_kind(kind: str, rendered: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the objects of one kind."""
    return [each for each in rendered if each["kind"] == kind]


def has_null(value: object) -> bool:
    """Say whether there is a null somewhere in an object: Kubernetes refuses it where something is wanted."""
    if isinstance(value, dict):
        return any(has_null(each) for each in value.values())
    return any(has_null(each) for each in value) if isinstance(value, list) else value is None


# -- what is made of the device's own tables


def device_file() -> str:
    """Return files/device.json: by which the templates judge properties, and what access control lets readers call."""
    content = {
        "properties": {item.name: _rule_of(item) for item in PROPERTIES},
        "readersCommands": list(READERS_COMMANDS),
    }
    return json.dumps(content, indent=2) + "\n"


def schema_file() -> str:
    """Return values.schema.json, with the device properties as they are."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    schema["definitions"]["properties"] = {
        "description": "Device properties, as numbers, booleans, texts or lists. An empty text stands for the default. "
        "A name that the device does not have is refused, and the nearest is named",
        "type": "object",
        "properties": {item.name: _schema_of(item) for item in PROPERTIES},
    }
    return json.dumps(schema, indent=2) + "\n"


def _rule_of(item: Property) -> dict[str, Any]:
    """Return what the templates need to judge a text as `item.parse` does.

    :raises ValueError: a kind of rule that the chart does not know yet
    """
    rule: dict[str, Any] = {"rule": item.rule, "several": item.several, "never": "", "longest": LONGEST_ELEMENT}
    kinds: dict[str, dict[str, Any]] = {
        "a number of": {"pattern": _stripped(properties._NUMBER.pattern)},
        "a whole number": {"pattern": _stripped(properties._WHOLE_NUMBER.pattern)},
        "a size": {"pattern": _stripped(rf"\d+(\.\d+)?\s*({'|'.join(_UNITS)})?"), "units": _UNITS},
        "an absolute path": {"pattern": "^/[ -~]*$", "longest": LONGEST_PATH},
        "the URI of a script": {"pattern": _stripped("file://[ -~]*"), "longest": LONGEST_PATH},
        "what a repository's": {"pattern": _stripped(properties._REPOSITORIES.pattern), "longest": _LONGEST_URL},
        "the URL of a database": {
            "pattern": _stripped(properties._DATABASE_URL.pattern),
            "never": r"[^\s -~]",
            "longest": _LONGEST_URL,
        },
        "the name of a module": {"pattern": _stripped(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"), "never": _KEYWORDS},
        "true or false": {"pattern": _stripped("(?i:true|1|yes|on|false|0|no|off)")},
        "RUNNING or ON": {"pattern": _stripped("(?i:RUNNING|ON)")},
    }
    kind = next((each for each in kinds if item.rule.startswith(each)), None)
    if kind is None:
        raise ValueError(f"{item.name}: tests/support/charts.py does not know what {item.rule!r} means in a chart")
    rule |= kinds[kind]
    if found := _BOUNDS.search(item.rule):
        lowest, highest = (int(text.replace(",", "")) for text in found.groups()[:2])
        rule |= {"lowest": lowest, "highest": highest * (1000**3 if found[3] else 1)}
    return rule


def _stripped(pattern: str) -> str:
    return rf"^\s*(?:{pattern})\s*$"


def _schema_of(item: Property) -> dict[str, Any]:
    element: dict[str, Any] = {"type": [_JSON_TYPES.get(item.kind, "string")], "maxLength": LONGEST_ELEMENT}
    if element["type"] != ["string"]:
        element["type"].append("string")
    if item.rule == "RUNNING or ON":  # which YAML takes for true: the templates say so
        element["type"].append("boolean")
    if item.rule.startswith("a size"):
        element["type"].insert(0, "number")
    if (found := _BOUNDS.search(item.rule)) and not found[3]:
        element["minimum"], element["maximum"] = (int(text.replace(",", "")) for text in found.groups()[:2])
    description = {"description": f"{item.doc}; {'each ' * item.several}{item.rule}"}
    if not item.several:
        return description | element
    return description | {"type": ["array", "string"], "items": element}


_JSON_TYPES = {float: "number", int: "integer", bool: "boolean"}


# -- the README of a chart


def readme_file(chart: Path) -> str:
    """Return the README of a chart: what README.head.md says, and a table of its values."""
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    head = (chart / "README.head.md").read_text()
    rows = "\n".join(_rows(schema["properties"], values, schema.get("definitions", {}), ""))
    table = f"| value | default | meaning |\n|---|---|---|\n{rows}\n"
    return f"{head.rstrip()}\n\n## Values\n\n{table}"


def _rows(told: Mapping[str, Any], values: Any, definitions: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, schema in told.items():
        schema = definitions.get(schema.get("$ref", "").rpartition("/")[2], schema)
        value = values.get(name) if isinstance(values, dict) else None
        inner = {} if name == "properties" else schema.get("properties", {})
        default = "" if value is None or inner else f"`{json.dumps(value)}`"
        allowed = f" ({', '.join(map(str, schema['enum']))})" if "enum" in schema else ""
        text = (schema.get("description", "") + allowed).replace("|", "\\|")
        yield f"| `{path}{name}` | {default} | {text} |"
        yield from _rows(inner, value, definitions, f"{path}{name}.")
        items = schema.get("items", {})
        if name == "subarrays":
            yield from _rows(items["properties"], None, definitions, f"{path}{name}[].")


def generated() -> dict[Path, str]:
    """Return what is made of tables, by the file: in the order in which one needs the other."""
    (CHART / "files").mkdir(exist_ok=True)
    return {
        CHART / "files" / "device.json": device_file(),
        CHART / "values.schema.json": schema_file(),
        **{chart / "README.md": readme_file(chart) for chart in (CHART, UMBRELLA)},
    }


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(schema_file())  # which READMEs are made of
    for path, text in generated().items():
        path.write_text(text)
