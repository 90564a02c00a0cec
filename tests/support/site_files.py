"""The files in tango-config/, and the commands that write them; ``python -m support.site_files`` writes them anew.

`make site-files` calls it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from .tango_server import program

FOLDER = Path(__file__).parents[2] / "tango-config"

COMMANDS = {
    f"{folder}{telescope}-oet{suffix}": (*command, f"--{telescope}")
    for telescope in ("mid", "low")
    for folder, suffix, command in (
        ("", ".json", ("dsconfig",)),
        ("archiving/", ".hdbpp.yaml", ("archiving", "--hdbpp")),
        ("archiving/", ".eda.yaml", ("archiving", "--eda")),
    )
}
"""What `oet config` is called with, by the file."""


def written(*arguments: str) -> str:
    """Return what `oet config` writes."""
    done = subprocess.run([program("oet"), "config", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    for name, arguments in COMMANDS.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written(*arguments))
