"""What is no script is told by its name or its beginning; what may be one is let pass."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import itertools
import json
import lzma
import marshal
import sys
import zipfile

import pytest

from ska_oet_device.procedure.file_kinds import foreign_kind

CELLS = {"cells": [{"cell_type": "code", "source": ["x = 1"], "outputs": []}], "metadata": {}, "nbformat": 4}


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("__main__.py", "print(1)")
    return file.getvalue()


def compiled() -> bytes:
    return importlib.util.MAGIC_NUMBER + b"\0" * 12 + marshal.dumps(compile("x = 1", "a.py", "exec"))


@pytest.mark.parametrize(
    ("name", "source", "kind"),
    [
        ("scan.ipynb", b"", "notebook: convert it with `jupyter nbconvert --to script`"),
        ("SCAN.IPYNB", b"", "notebook"),
        ("scan", json.dumps(CELLS).encode(), "notebook"),
        ("scan.py", json.dumps(CELLS, indent=1).encode(), "notebook"),
        ("scan.py", json.dumps({"b": 1, **CELLS}).encode(), "notebook"),
        ("scan.py", b'{"a": [1, 2.5, "x"]}\n', "JSON"),
        ("scan.py", b"  [1, 2]", "JSON"),
        ("sb.yaml", b"target: M31\n", "YAML"),
        ("sb.yml", b"target: M31\n", "YAML"),
        ("sb", b"%YAML 1.2\n---\n", "YAML"),
        ("sb.json", b"{}", "JSON"),
        ("pyproject.toml", b"[project]\n", "TOML"),
        ("setup.cfg", b"[metadata]\n", "configuration"),
        ("run.sh", b"echo\n", "shell script"),
        ("run", b"#!/bin/sh\necho\n", "script for sh"),
        ("run.py", b"#!/usr/bin/env bash\necho\n", "script for bash"),
        ("run", b"#!/usr/bin/env -S FOO=1 perl -w\n", "script for perl"),
        ("a.pyc", b"", "compiled"),
        ("a", compiled(), "compiled Python"),
        ("a.so", b"", "compiled"),
        ("a", b"\x7fELF\2\1\1", "ELF"),
        ("a.py.gz", b"", "archive"),
        ("a", gzip.compress(b"x = 1"), "gzip"),
        ("a", bz2.compress(b"x = 1"), "bzip2"),
        ("a", lzma.compress(b"x = 1"), "xz"),
        ("a.pyz", zipped(), "zip"),
        ("a.pyx", b"cdef int x\n", "Cython"),
        ("a.py", "x = 1".encode("utf-16"), "UTF-16"),
        ("a.py", "x = 1".encode("utf-32"), "UTF-16 or UTF-32"),
        ("a.py", b"x = 1\0", "NUL"),
        ("a.fits", b"SIMPLE  =                    T / FITS standard", "FITS"),
    ],
    ids=itertools.count(),  # some of the sources have the time in them
)
def test_what_is_no_script_is_told(name, source, kind):
    assert kind in foreign_kind(name, source)
    assert foreign_kind(name, source).startswith("is ")


def test_a_large_notebook_is_known_by_its_beginning():
    beginning = json.dumps(CELLS, indent=1).encode()[:40]
    assert "notebook" in foreign_kind("scan", beginning, whole=False)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("scan.py", b"def main(): pass\n"),
        ("scan", b"def main(): pass\n"),
        ("scan.v2", b"def main(): pass\n"),
        ("scan.ipynb.py", b"def main(): pass\n"),
        ("scan.txt", b"def main(): pass\n"),
        (".py", b"def main(): pass\n"),
        ("/sb.yaml/scan.py", b""),
        ("scan", b"\xef\xbb\xbfdef main(): pass\n"),
        ("scan", b"#!/usr/bin/python3\n"),
        ("scan", b"#!/usr/bin/env python3\n"),
        ("scan", b"#!/usr/bin/env -S uv run --script\n"),
        ("scan", b"#!\n"),
        ("scan", b"[print(n) for n in range(3)]\n"),
        ("scan", b"{'cells': 1}\ndef main(): pass\n"),
        ("scan", b'{"a": 1}.items()\ndef main(): pass\n'),
        ("scan", b"[" * 100_000),
        ("scan", "# coding: latin-1\nx = 'ü'".encode("latin-1")),
    ],
)
def test_what_may_be_a_script_is_let_pass(name, source):
    assert foreign_kind(name, source) == ""


def test_so_are_the_modules_of_python_itself():
    files = [
        module.__file__ for module in list(sys.modules.values()) if str(module.__dict__.get("__file__")).endswith("py")
    ]
    assert len(files) > 50
    for path in files:
        with open(path, "rb") as file:
            assert foreign_kind(path, file.read()) == ""
