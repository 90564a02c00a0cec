"""The worker of a check: loads one script, calls nothing of it, and tells step by step what it finds."""

from __future__ import annotations

import os
import signal
from typing import Any, NoReturn

from ...mptools import dumps
from ..marks import run_title
from ..messages import CHECK_STEPS, LARGEST_FINDINGS, LARGEST_PATH_BESIDE, LONGEST_REASON, Check, CheckStep, Load
from ..script import ProcedureInput, read_script
from . import _loader as loader
from ._call import bind
from ._descriptions import findings_of
from ._entry_point import check_module, check_text
from ._fetch import Prepared
from ._functions import function_of
from ._surroundings import use_memory_reserve
from ._worker import ScriptWorker, now

FOUND, COMPILES, ENVIRONMENT, IMPORTS, FUNCTIONS, ARGUMENTS = CHECK_STEPS

_BEGINNINGS = {"terminated": "SIGTERM from outside: ", "stopped": "stopped by the script: "}
"""What the reason of a procedure begins with that has ended so."""


class CheckWorker(ScriptWorker):
    """Loads a script as its base class does, tells main what there is to tell, and waits to be killed.

    What the script prints goes nowhere.
    """

    _under_way = FOUND

    def main_func(self, item: Any) -> None:
        """Handle the one message that there is for it."""
        if isinstance(item, Check):
            self._check(item)
        else:
            super().main_func(item)

    def _title_for(self, message: Load) -> str:
        assert isinstance(message, Check)
        return (
            f"{run_title(message.run_id)}{os.path.basename(message.path)} check {message.check_id} of {message.device}"
        )

    def _check(self, message: Check) -> None:
        self.output = os.open(os.devnull, os.O_WRONLY)
        self._has_environment = message.source is not None and message.source["create_env"]
        self._take_up(message)
        try:
            is_here = message.source is None or self._prepare_source(message.source)
            if is_here:
                self._go_through(message)
        except BaseException as error:  # user code: whatever it raises is what is wrong with it
            if isinstance(error, MemoryError):
                use_memory_reserve()
            self._fail("the check", error)
        if self.shutdown_event.is_set():  # it has made the environment, in which another worker goes on
            os._exit(0)
        _wait_to_be_killed()

    def _go_through(self, message: Check) -> None:
        if message.source is not None and "prepared" in message.source:  # by another worker, which has read the script
            self._under_way = ENVIRONMENT
            self._done(ENVIRONMENT)
        path = self._begin_loading(message)
        if self._under_way == FOUND:
            self._read(path, self._prepared)
        if self._under_way == COMPILES:
            self._compile(path)
        self._under_way = IMPORTS
        with self._code_of_the_script():
            self.module = self._load_module(path)
        self._done(IMPORTS)
        self._under_way = FUNCTIONS
        with self._code_of_the_script():
            self._look_at_functions(path)
        self._done(FUNCTIONS)
        self._under_way = ARGUMENTS
        with self._code_of_the_script():
            self._look_at_arguments(message)
        self._done(ARGUMENTS)

    # -- the steps

    def _found(self, prepared: Prepared) -> None:
        self._read(prepared.path, prepared)
        if self._has_environment:  # which need not be made for a script that is no Python
            self._compile(prepared.path)

    def _read(self, path: str, prepared: Prepared | None) -> None:
        source = read_script(path)
        self._tell_provenance(path, source, prepared)
        self._done(FOUND)
        self._under_way = COMPILES
        self._source = source

    def _compile(self, path: str) -> None:
        code = loader.compiled(path, self._source)
        self._done(COMPILES)
        self._under_way = FUNCTIONS  # it is these that are missing, and nothing is imported then
        check_text(self._source, code)
        self._under_way = ENVIRONMENT

    def _look_at_functions(self, path: str) -> None:
        assert self.module is not None
        too_long = max(0, len(dumps(path)) - LARGEST_PATH_BESIDE)
        self.event_q.put(findings_of(self.module, LARGEST_FINDINGS - too_long))
        if not self._has_init:  # else that may bind main
            check_module(self.module)

    def _look_at_arguments(self, message: Check) -> None:
        """See that the arguments fit, as far as a function is there before `init` has been called.

        :raises ScriptCallError: there is no such function, or they do not
        """
        assert self.module is not None
        context = self._context_now()
        given = {"init": message.init_args} if self._has_init else {}
        if message.fn_name is not None or message.run_args is not None:
            name = message.fn_name or "main"
            if name in vars(self.module) or not self._has_init:
                given[name] = message.run_args or ProcedureInput().as_data()
        for name, arguments in given.items():
            bind(name, function_of(self.module, name), ProcedureInput.from_data(arguments), context)

    @property
    def _has_init(self) -> bool:
        return callable(vars(self.module).get("init"))

    # -- what main is told

    def _done(self, step: str) -> None:
        self.event_q.put(CheckStep(step, True, None, now()))

    def _finish(self, outcome: str, reason: str, **more: Any) -> None:
        """Tell which step has failed, and why."""
        told = f"{_BEGINNINGS.get(outcome, '')}{reason}"[:LONGEST_REASON]
        self.event_q.put(CheckStep(self._under_way, False, told, now()))


def _wait_to_be_killed() -> NoReturn:
    """Do nothing any more, and nothing that Python does at its end: main kills this process."""
    while True:
        signal.pause()
