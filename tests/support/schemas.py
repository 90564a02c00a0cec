"""The files of the JSON Schemas, as they have to be; ``python -m support.schemas`` writes them (`make schemas`)."""

from __future__ import annotations

import json
from pathlib import Path

from ska_oet_device.procedure.ui._schemas import NAMES, WRITTEN, schema_of

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "schemas"


def files() -> dict[Path, str]:
    """Return what each file has to hold: one for each schema, and one with all of them for the device."""
    schemas = {name: schema_of(name) for name in NAMES}
    wanted = {FOLDER / f"{name}.json": json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()}
    return {**wanted, WRITTEN: json.dumps(schemas) + "\n"}


def write() -> None:
    """Write them, and remove those that are of nothing any more."""
    wanted = files()
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="ascii")


if __name__ == "__main__":
    write()
