"""How pages are read and compared: what differs by nature is let pass, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import pages
from support.pages import blocks, tries
from support.sameness import difference

SAME = [
    ("12:57:01  RUNNING", "23:01:59.123  RUNNING"),
    ("procedure 1  0 %  slewing", "procedure 1  14 %  slewing"),
    ("Run: anna (itango pid 4711 on host ws1)", "Run: anna (itango pid 9 on host vm-2.site)"),
    ("run 01a22c87-b703-7ac5-910f-3b19592219a4", "run 0199d4b2-7c1e-7a55-9d2b-8a4f2e6d1c03"),
    ("ScriptRoots: /.../ska_oet_device/examples", "ScriptRoots: /home/x/src/ska_oet_device/examples"),
    ("a\n...\nd", "a\nb\nc\nd"),
    ("a\n...\nd", "a\nd"),
    ("[1, ..., 9]", "[1, 2, 3, 9]"),
    ("ID  STATE", "ID      STATE   "),
]
DIFFERENT = [
    ("12:57:01  RUNNING", "12:57:01  READY"),
    ("procedure 1", "procedure 2"),
    ("a\nd", "a\nb\nd"),
    ("a\n...\nd", "a\nb"),
    ("[1, ..., 9]", "[1, 2\n, 9]"),
    ("", "anything"),
    ("anything", ""),
    ("a.b", "axb"),
    ("file://scan.py", "file://hello.py"),
]


@pytest.mark.parametrize(("shown", "printed"), SAME, ids=range(len(SAME)))
def test_what_differs_by_nature_is_the_same(shown: str, printed: str) -> None:
    assert difference(shown, printed) == ""


@pytest.mark.parametrize(("shown", "printed"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_anything_else_is_a_difference(shown: str, printed: str) -> None:
    assert difference(shown, printed) != ""


PAGE = """\
Try this:

    $ oet run scan.py \\
        --follow
    Procedure 1
    $ oet list

- an item

    whose second paragraph is no block: make demo

<!-- not run: it is long -->

    make demo

and

    make test

    In [1]: for i in (1, 2):
       ...:     print(i)
    1
    2

```python
print(3)
```

```text
3
```

```jsonc
{"a": 1}
```

```bash
rm -rf x
```
"""


def test_a_page_is_read_as_a_reader_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text(PAGE.replace("    make test\n\n", "    make test\n\nor\n\n"))
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    assert [(item.kind, item.typed, item.expected.strip()) for item in tries("page.md")] == [
        ("shell", "oet run scan.py \\\n    --follow", "Procedure 1"),
        ("shell", "oet list", ""),
        ("itango", "for i in (1, 2):\n    print(i)", "1\n2"),
        ("python", "print(3)\n", "3"),
    ]
    escaped = [block for block in blocks("page.md") if block.looks_runnable and not (block.kind or block.is_marked)]
    assert [block.text for block in escaped] == ["make test\n", "rm -rf x\n"]
