"""The process of a check, and what the template of checks does for it: it has pydantic, unlike that of scripts."""

from __future__ import annotations

import socket
from typing import NoReturn

from . import _process
from ._check_worker import CheckWorker
from ._descriptions import warm_up
from ._process import finish_template

__all__ = ["check_main", "finish_template", "prepare_template"]


def prepare_template() -> None:
    """Do what the template of workers does, and what each check would have to do by itself.  In the template."""
    _process.prepare_template()
    warm_up()


def check_main(sock: socket.socket) -> NoReturn:
    """Run the worker of a check in a freshly forked process, to its end."""
    _process.run_worker(sock, CheckWorker, lambda end: None)  # it is needed at once, and has no end but a sudden one
