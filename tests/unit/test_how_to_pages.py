"""What the pages of docs/how-to show of scripts is what the tests of the examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.recipes import EXAMPLES, python_blocks

PAGES = ("write-a-script.md", "recipes.md")
BLOCKS = [(page, block) for page in PAGES for block in python_blocks(page)]


@pytest.fixture(scope="module")
def sources() -> dict[Path, str]:
    return {path: path.read_text() for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}-{number}" for number, (page, _) in enumerate(BLOCKS)])
def test_a_block_of_python_is_a_part_of_an_example(sources: dict[Path, str], page: str, block: str) -> None:
    assert any(f"\n{block}" in f"\n{source}" for source in sources.values()), f"in no script of examples/:\n{block}"


def test_each_example_is_named_on_a_page() -> None:
    text = "".join((EXAMPLES.parent / "docs/how-to" / page).read_text() for page in PAGES)
    named = set(re.findall(r"\w+\.(?:py|ipynb)", text))
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")} <= named


def test_each_example_is_run_by_a_test() -> None:
    tests = "".join((EXAMPLES.parent / "tests" / name / "test_recipes.py").read_text() for name in ("tango", "recipes"))
    scripts = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")} - {"whole_file.py"}
    assert {name for name in scripts if name not in tests} == set()
