"""What docs/explanations/security.md names is there, and the unit that it links to is in one place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ska_oet_device.properties import BY_NAME

PAGE = Path(__file__).parents[2] / "docs/explanations/security.md"
DOCS = Path(__file__).parents[2] / "docs"
DEPLOY_PAGE = DOCS / "how-to/deploy.md"
OF_TANGO = {"EventBufferHwm"}
NO_PROPERTY = {"create_env"}


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text()


def test_it_opens_what_there_is(text):
    table = text.partition("## What each property opens")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert "ScriptRoots" in named
    assert named - OF_TANGO - NO_PROPERTY <= set(BY_NAME)


def test_it_links_to_files_that_there_are(text):
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_the_unit_to_which_the_page_links_is_there_and_in_one_place(text):
    assert "../how-to/deploy.md#by-systemd" in text
    assert DEPLOY_PAGE.read_text().count("\n## By systemd\n") == 1
    assert [page for page in DOCS.rglob("*.md") if "```ini" in page.read_text()] == []
