"""A main process whose scripts find a module imported that a test has written."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ska_oet_device.procedure import messages

from .main_process import MainProcess


@pytest.fixture
def preloading(new_main: Callable[..., MainProcess], tmp_path: Path) -> Callable[[str, str], MainProcess]:
    """Return what starts a main process whose template has imported a module, given its name and its text."""

    def start(name: str, text: str) -> MainProcess:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        source = str(Path(messages.__file__).parents[3])
        main = new_main(env={"PYTHONPATH": os.pathsep.join([source, str(tmp_path)])})
        template = main.wait_for_template()
        main.configure(2, name)
        main.wait_for_template(other_than=template)
        return main

    return start
