"""Small packages and projects, made by the tests: nothing comes from the network."""

from __future__ import annotations

import textwrap
import zipfile
from pathlib import Path

# A build backend that needs no other package; "{hook}" runs once a build.
_BACKEND = """
import os, zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
{hook}
    name = "{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        wheel.writestr("{name}.py", open("{name}.py").read())
        wheel.writestr("{name}-{version}.dist-info/METADATA", "Metadata-Version: 2.1\\nName: {name}\\n"
            "Version: {version}\\n" + "".join("Requires-Dist: %s\\n" % each for each in {needs!r}))
        wheel.writestr("{name}-{version}.dist-info/WHEEL",
            "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("{name}-{version}.dist-info/RECORD", "")
    return name

build_editable = build_wheel
"""


def make_wheel(
    folder: Path, name: str, version: str, *, needs: tuple[str, ...] = (), size: int = 0, code: str = ""
) -> Path:
    """Make a wheel with one package that knows its version; more `code`, and `size` bytes of data besides."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {each}\n" for each in needs)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", f"version = {version!r}\n{code}")
        if size:
            wheel.writestr(f"{name}/data.bin", bytes(range(256)) * (size // 256))
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


def make_project(folder: Path, **files: str) -> Path:
    """Make a project of text files; ``requirements_txt="…"`` becomes ``requirements.txt``."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        stem, _, ending = name.rpartition("_")
        (folder / f"{stem}.{ending}").write_text(text)
    return folder


def make_package(
    folder: Path, name: str = "observing", version: str = "1.0", *, needs: tuple[str, ...] = (), hook: str = ""
) -> Path:
    """Make a project that is a package of its own, with one module, built without any other package."""
    listed = ", ".join(f'"{each}"' for each in needs)
    make_project(
        folder,
        pyproject_toml=f'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\nrequires-python = ">=3.10"\ndependencies = [{listed}]\n',
        backend_py=_BACKEND.format(name=name, version=version, needs=needs, hook=textwrap.indent(hook, "    ")),
    )
    (folder / f"{name}.py").write_text(f"version = {version!r}\n")
    return folder
