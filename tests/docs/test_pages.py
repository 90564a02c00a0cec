"""What stands on the pages for readers to try is tried, by each page's reader with servers as `make up` has them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pages import ROOT, Try, blocks, pages, tries
from support.reader import Reader
from support.sameness import difference

from ska_oet_device.client._interrupts import Interrupts
from ska_oet_device.client._stack import Stack

# Their Python is tried by tests/unit/test_how_to_pages.py and the tests of the examples, and by tests/integration.
PYTHON_ELSEWHERE = ("docs/how-to/write-a-script.md", "docs/how-to/recipes.md", "docs/how-to/use-the-engine.md")


def tried_here(page: str) -> list[Try]:
    return [item for item in tries(page) if item.kind != "python" or page not in PYTHON_ELSEWHERE]


TRIED = [page for page in pages() if tried_here(page)]
SHORT = ("README.md",)
LOOKS = ("oet describe ", "oet fleet ", "oet health ", "oet history ", "oet list")
STOPS = "oet stop"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with Interrupts() as interrupts, Stack(interrupts) as up:
        reader = Reader(tmp_path, up.tango_host)
        try:
            yield reader
        finally:
            reader.kill()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "page", [page if page in SHORT else pytest.param(page, marks=pytest.mark.long) for page in TRIED]
)
def test_what_a_page_shows_is_what_a_reader_sees(page: str, reader: Reader) -> None:
    for item in tried_here(page):
        if item.typed.startswith(STOPS):
            reader.wait_until_a_script_runs()  # a reader who types has seen so much
        printed = reader.tries(item.kind, item.typed)
        deadline = time.monotonic() + 20
        while (found := difference(item.expected, printed)) and item.typed.startswith(LOOKS):
            if time.monotonic() > deadline:
                break
            printed = reader.tries(item.kind, item.typed)  # what was asked before is on its way: a reader looks again
        assert not found, f"{item.where}: {item.typed}\n{found}\nprinted:\n{printed}"
    reader.close()


@pytest.mark.parametrize("page", pages())
def test_nothing_that_looks_runnable_escapes(page: str) -> None:
    escaped = [block.where for block in blocks(page) if block.looks_runnable and not (block.kind or block.is_marked)]
    assert escaped == [], f"begin them with `$ ` or `In [1]: `, or write <!-- not run: why --> above: {escaped}"


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/how-to/write-a-script.md", "docs/reference/contract.md"} <= set(pages())
    assert "README.md" in TRIED
    assert {page for page in PYTHON_ELSEWHERE if not (ROOT / page).exists()} == set()
