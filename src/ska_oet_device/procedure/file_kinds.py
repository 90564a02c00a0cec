"""What a file is that is no script: told by the ending of its name, or by its beginning.

Some of them are Python by accident: a notebook is a dictionary, each line of a YAML file an annotation.
"""

from __future__ import annotations

import json
import os
import re

_NOTEBOOK = "is a notebook: convert it with `jupyter nbconvert --to script`, and put what it does into a function main"
_UTF_16 = "is text in UTF-16 or UTF-32: save it as UTF-8"

_ENDINGS = {
    ".ipynb": _NOTEBOOK,
    **dict.fromkeys((".yaml", ".yml"), "is a YAML file"),
    **dict.fromkeys((".json", ".jsonc"), "is a JSON file"),
    ".toml": "is a TOML file",
    **dict.fromkeys((".ini", ".cfg"), "is a configuration file"),
    **dict.fromkeys((".xml", ".html", ".htm"), "is a file of markup"),
    ".md": "is a Markdown file",
    ".csv": "is a table",
    **dict.fromkeys((".sh", ".bash", ".zsh", ".ksh", ".csh", ".fish"), "is a shell script"),
    **dict.fromkeys((".pyx", ".pxd"), "is Cython: compile it, and write a script that imports it"),
    **dict.fromkeys((".pyc", ".pyo", ".pyd", ".so", ".dll"), "is compiled"),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz", ".whl"), "is an archive"),
}
_BEGINNINGS = (
    (b"\x1f\x8b", "is compressed (gzip)"),
    (b"BZh", "is compressed (bzip2)"),
    (b"\xfd7zXZ\0", "is compressed (xz)"),
    (b"\x28\xb5\x2f\xfd", "is compressed (zstd)"),
    (b"PK\3\4", "is an archive (zip)"),
    (b"\x7fELF", "is a program (ELF)"),
    (b"%PDF-", "is a PDF file"),
    (b"%YAML", "is a YAML file"),
    (b"SIMPLE  =", "is a FITS file"),
    *((mark, _UTF_16) for mark in (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")),
)
_NOTEBOOK_BEGINS = re.compile(rb'\s*\{\s*"(cells|metadata|nbformat(_minor)?)"\s*:')
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "csh", "tcsh", "fish", "tclsh", "wish", "expect")
_OTHER_INTERPRETERS = frozenset(
    (*_SHELLS, "perl", "ruby", "node", "lua", "awk", "gawk", "make", "Rscript", "julia", "php")
)
_LONGEST_LINE = 256  # bytes; the kernel reads as many of the line that names an interpreter


def foreign_kind(name: str, source: bytes, *, whole: bool = True) -> str:
    """Return what a file is, as the end of a sentence that its name begins; "" for what may be a script.

    :param name: the file's name, or its path
    :param source: its content, or the beginning of it
    :param whole: whether `source` is all of it
    """
    ending = os.path.splitext(name)[1].lower()
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    for beginning, kind in _BEGINNINGS:
        if source.startswith(beginning):
            return kind
    if source[2:4] == b"\r\n" and b"\0" in source[4:16]:  # the magic number of each version ends so
        return "is compiled Python"
    if b"\0" in source:
        return "is no text: it holds NUL"
    return _kind_of_text(source, whole)


def _kind_of_text(source: bytes, whole: bool) -> str:
    if source.startswith(b"#!"):
        return _kind_of_program(source[2:_LONGEST_LINE].partition(b"\n")[0].decode("latin-1"))
    if _NOTEBOOK_BEGINS.match(source):
        return _NOTEBOOK
    if whole and source.lstrip()[:1] in (b"{", b"["):
        try:
            content = json.loads(source)
        except (ValueError, RecursionError):
            return ""
        return _NOTEBOOK if isinstance(content, dict) and "cells" in content else "is a JSON file"
    return ""


def _kind_of_program(line: str) -> str:
    words = [os.path.basename(word) for word in line.split()]
    if words[:1] == ["env"]:
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return f"is a script for {words[0]}" if words and words[0] in _OTHER_INTERPRETERS else ""
