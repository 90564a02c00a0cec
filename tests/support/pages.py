"""The blocks of a page of documentation, and what of them somebody may try: shell, itango, Python.

A block is fenced, or indented by four. What is tried is told by how it begins, `$ ` or `In [1]: `, or is fenced as
`python`; a block of `text` behind one of Python is what it prints. Whatever else looks as if it could be tried needs a
line `<!-- not run: why -->` above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(\w*)$")
_MARK = re.compile(r"^<!-- not run: \S.* -->$")
_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s")
_SYSTEMS = ("cd", "export", "git", "jupyter", "make", "pip", "pytest", "python", "python3", "ipython", "itango")
_OURS = ("OetDevice", "json2tango", "oet", "oet-device")
_TRIED_LANGUAGES = ("python", "bash", "sh", "shell", "console", "ipython")


@dataclass(frozen=True)
class Block:
    """A block of a page; `line` is where its text begins, counted from 1; indented blocks have no language."""

    page: str
    line: int
    language: str
    text: str
    is_marked: bool

    @property
    def kind(self) -> str:
        """Who tries it: `shell`, `itango` or `python`; empty: nobody."""
        if self.is_marked:
            return ""
        if self.text.startswith("$ "):
            return "shell"
        if re.match(r"In \[\d+\]: ", self.text):
            return "itango"
        return "python" if self.language == "python" else ""

    @property
    def looks_runnable(self) -> bool:
        """Say whether a reader would take it for something to be tried."""
        first_words = {line.split(" ")[0] for line in self.text.splitlines()}
        return self.language in _TRIED_LANGUAGES or bool(first_words & {"$", ">>>", *_SYSTEMS, *_OURS})

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Return the pages whose blocks are for readers to try."""
    how_to = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "how-to").glob("*.md"))
    return ["README.md", *how_to, "docs/reference/contract.md"]


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page, in order."""
    return list(_blocks(page, (ROOT / page).read_text().splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    number, mark, is_in_list = 0, False, False
    while number < len(lines):
        line = lines[number]
        fence = _FENCE.match(line)
        begin = number + 1 if fence else number
        if fence:
            end = next(at for at in range(begin, len(lines)) if lines[at] == "```")
            yield Block(page, begin + 1, fence.group(1), "\n".join(lines[begin:end]) + "\n", mark)
            number, mark = end + 1, False
        elif line.startswith("    ") and not is_in_list and not lines[number - 1].strip() and number:
            end = _end_of_indented(lines, begin)
            yield Block(page, begin + 1, "", "\n".join(each[4:] for each in lines[begin:end]).rstrip() + "\n", mark)
            number, mark = end, False
        else:
            mark = bool(_MARK.match(line)) or (mark and not line.strip())
            is_in_list = bool(_ITEM.match(line)) or (is_in_list and (not line.strip() or line.startswith(" ")))
            number += 1


def _end_of_indented(lines: list[str], begin: int) -> int:
    end = begin
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith("    ")):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return end


@dataclass(frozen=True)
class Try:
    """Something to be typed, or run, and what is to be seen then."""

    kind: str
    where: str
    typed: str
    expected: str


def tries(page: str) -> list[Try]:
    """Return what a reader of a page may try, in order."""
    found: list[Try] = []
    of_page = blocks(page)
    for block, following in zip(of_page, [*of_page, None][1:], strict=True):
        if block.kind == "python":
            is_shown = following is not None and following.language == "text"
            found.append(Try("python", block.where, block.text, following.text if is_shown and following else ""))
        elif block.kind == "shell":
            found += _typed(block, re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE))
        elif block.kind == "itango":
            found += _typed(block, re.compile(r"^In \[\d+\]: (.*(?:\n   \.\.\.: .*)*)\n", re.MULTILINE))
    return found


def _typed(block: Block, prompt: re.Pattern[str]) -> Iterator[Try]:
    _, *parts = prompt.split(block.text)
    line = block.line
    for typed, shown in zip(parts[::2], parts[1::2], strict=True):
        yield Try(block.kind, f"{block.page}:{line}", typed.replace("\n   ...: ", "\n"), shown)
        line += typed.count("\n") + 1 + shown.count("\n")
