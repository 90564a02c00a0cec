"""Whether what was printed is what a page shows, but for what differs by nature and what it leaves out (`...`)."""

from __future__ import annotations

import difflib
import re

# What differs each time, and what stands for it in both texts.
_RULES = [
    (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME"),
    (r"\b\d{4}-\d\d-\d\d\b", "DATE"),
    (r"\b\d\d:\d\d:\d\d(\.\d+)?", "TIME"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "RUN-ID"),
    (r"\b127\.0\.0\.1:\d+", "HOST:PORT"),
    (r"\bpid \d+ on host [\w.-]+", "pid N on host HOST"),
    (r"\b1[79]\d{8}\.\d+", "UNIX-TIME"),
    (r"\b[0-9a-f]{64}\b", "SHA"),
    (r"\b\d+(\.\d+)? ?(ms|s|%)(?=\W|$)", r"N \2"),
    (r"/\S*(?=/ska_oet_device/)", "PACKAGE"),
    (r"/\S*/(?=python[\d.]*\b)", "BIN/"),
    (r"[─━═]+", "─"),
    (r"#*\.{3,20}\]|#+\]", "BAR]"),
    (r" {2,}", "  "),
    (r"[ \t]+$", ""),
]


def made_equal(text: str) -> str:
    """Return a text without what differs by nature."""
    for pattern, replacement in _RULES:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text.strip("\n")


def difference(expected: str, printed: str) -> str:
    """Return how what was printed differs from what a page shows; empty: it does not."""
    wanted, found = made_equal(expected), made_equal(printed)
    if re.fullmatch(_pattern(wanted), f"{found}\n"):
        return ""
    return "\n".join(difflib.ndiff(wanted.splitlines(), found.splitlines()))


def _pattern(wanted: str) -> str:
    lines = []
    for line in wanted.splitlines():
        if line.strip() in ("...", "…"):
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(r".*?".join(map(re.escape, re.split(r"\.\.\.|…", line))) + r"\n")
    return "".join(lines) or r"\n"
