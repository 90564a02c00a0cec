"""The properties of a device: declared for Tango's tools, read by us, and looked after for as long as the server lives.

Nothing here raises for what a property says, or for a database that is away, hangs, or fails half-way.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tango
from tango.server import Device, device_property

from ...config import Settings, first_wait_for_qa_ready
from ...duties import Duty
from ...errors import OetError
from ...logs import about
from ...properties import BY_NAME, PROPERTIES, Property, Texts, number_in, settings_from
from ..application import Finder, NoAnswerError, find_script, place_of
from ..script import ExecutableScript
from ._database import AGAIN_AFTER, cause_of, property_texts, whereabouts
from ._requests import script_of_uri

_log = logging.getLogger(__name__)

READ_AT_START = 10.0  # seconds; a server that starts has nobody waiting
READ_AT_INIT = 2.0  # seconds; a client waits 3 s for its command
_PAUSE = 0.2  # seconds between two attempts of a server that starts
_LOOK_PATIENCE = 1.0  # seconds for one file or folder
_READ_ONCE = ("history_url", "state_directory")


class DeviceProperties(Device):
    """The properties of `OetDevice`, as Tango's tools are told of them; `Configuration` reads them."""

    def get_device_properties(self, ds_class: tango.DeviceClass | None = None) -> None:
        """Leave the properties to `Configuration`: Tango's own reading raises for a value that it cannot convert."""


def _declared(item: Property) -> device_property:
    default = item.default if item.shown_default is None else item.shown_default
    if item.several:
        return device_property(dtype=(item.kind,), default_value=list(default), doc=item.doc)
    return device_property(dtype=item.kind, default_value=default, doc=item.doc)


for _item in PROPERTIES:  # PyTango looks for them when the class of the device itself is made
    setattr(DeviceProperties, _item.name, _declared(_item))


@dataclass(frozen=True)
class Findings:
    """What the properties say, and what is wrong with that.

    :param settings: what is in use
    :param abort_script: the script that AbortScript names; it may not be there
    :param abort_path: where it was found last; "" if it is of no use
    :param problems: sentences on what a person must mend
    :param remarks: sentences on what is as it should be, but good to know
    :param nothing_runs: there is no place that a script could come from
    """

    settings: Settings
    abort_script: ExecutableScript | None = None
    abort_path: str = ""
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    nothing_runs: bool = False


class Configuration:
    """What the properties of one device say now; lives as long as the server, whatever becomes of the device object.

    The database and the file system are asked in a thread of its own, which comes when there is something to ask, and
    may wait as long as it takes.  `current` is replaced, never changed, and only by something that differs.
    """

    def __init__(
        self,
        device: str,
        texts_of: Callable[[str, Sequence[str]], Texts] = property_texts,
        environment_problem: str = "",
    ) -> None:
        """Nothing is read yet.

        :param environment_problem: what is wrong with a variable that takes the place of a property
        """
        self._device = device
        self._texts_of = texts_of
        self._changed = threading.Condition()
        self._asked = self._answered = 0
        self._busy = False
        self._bad: list[str] = []
        self._environment = tuple(filter(None, (first_wait_for_qa_ready()[1], environment_problem)))
        self._unread = ""
        self._ever_read = False
        self._retry_at = 0.0
        self._started: Settings | None = None
        self._blind = False
        self._settings = dataclasses.replace(Settings(), subarray_id=number_in(device) or Settings().subarray_id)
        self._finder = Finder(_LOOK_PATIENCE)
        self._found = self.current = Findings(self._settings)

    # -- any thread

    def start(self) -> Settings:
        """Read the properties for the first time, patiently; returns the settings to start with."""
        if number_in(self._device) is None:
            _log.warning("device %s names no subarray: where SubarrayId is not set, 1 is assumed", self._device)
        deadline = clock.monotonic() + READ_AT_START
        self.read(READ_AT_START)
        while self._unread and (left := deadline - clock.monotonic() - _PAUSE) > 0.0:
            clock.sleep(_PAUSE)
            self.read(left, READ_AT_START)
        with self._changed:
            self._started, self._blind = self._settings, not self._ever_read
        return self._settings

    def read(self, patience: float, told: float = 0.0) -> None:
        """Read the properties anew; what cannot be read within `patience` seconds is read later.

        :param told: the seconds that Status tells of where this is the last of several attempts; 0: `patience`
        """
        with self._changed:
            self._asked += 1
            mine = self._asked
            self._work_on()
            answered = self._changed.wait_for(lambda: self._answered >= mine, patience)
            if not answered:
                self._note_unread(f"it has not answered within {told or patience:.2g} s")
                self._show()

    def look_again(self) -> None:
        """Look whether what the properties name is there, and read what could not be read.  Returns at once."""
        with self._changed:
            if self._unread and self._asked == self._answered and clock.monotonic() >= self._retry_at:
                self._asked += 1
            self._work_on()

    # -- the thread

    def _work_on(self) -> None:
        if self._busy:
            return
        try:
            threading.Thread(target=self._work, name="properties", daemon=True).start()
            self._busy = True
        except RuntimeError as error:  # no thread can be had: the next look comes within a second
            _log.error("the properties cannot be looked after: %s", error)

    def _work(self) -> None:
        with tango.EnsureOmniThread():
            duty = Duty(f"look after the properties of {self._device}", about(self._device))
            done = threading.Event()
            while not done.is_set():
                duty.attempt(lambda: self._work_once(done))

    def _work_once(self, done: threading.Event) -> None:
        with self._changed:
            asked = self._asked
        if asked != self._answered:
            self._read()
        self._look()
        with self._changed:
            self._answered = asked
            self._show()
            self._changed.notify_all()
            if self._asked == asked:
                self._busy = False
                done.set()

    def _read(self) -> None:
        try:
            texts = self._texts_of(self._device, list(BY_NAME))
        except Exception as error:  # whatever the database does, the device goes on
            with self._changed:
                self._note_unread(cause_of(error))
            return
        settings, bad = settings_from(texts, self._settings, number_in(self._device) or Settings().subarray_id)
        with self._changed:
            self._settings, self._bad = settings, bad
            self._unread, self._ever_read = "", True

    def _note_unread(self, cause: str) -> None:
        used = "those read before stay in use" if self._ever_read else "the defaults are in use"
        self._unread = f"The properties cannot be read from the Tango database{whereabouts()} ({cause}); {used}."
        self._retry_at = clock.monotonic() + AGAIN_AFTER

    def _look(self) -> None:
        """Look at what the properties name; none of our locks is held, for a file system may hang.

        What does not answer is a problem, and looked at again within a second or two.
        """
        settings, late = self._settings, tuple[str, ...]()
        if self._started is not None:
            settings, late = _with_what_was_started(settings, self._started)
        try:
            script, path, unusable = self._look_at_abort_script(settings)
            places, nothing_runs = self._look_at_places(settings)
        except Exception:  # top of a thread: the next look comes within a second
            _log.exception("what the properties name cannot be looked at")
            return
        problems = (*self._bad, *self._environment, *places, *unusable, *(late if self._blind else ()))
        self._found = Findings(settings, script, path, problems, () if self._blind else late, nothing_runs)

    def _show(self) -> None:
        """Make what was found current, with what is to say of the database; the lock is held."""
        unread = (self._unread,) if self._unread else ()
        found = dataclasses.replace(self._found, problems=(*unread, *self._found.problems))
        if found != self.current:
            for problem in set(found.problems) - set(self.current.problems):
                _log.error("%s", problem)
            self.current = found

    def _look_at_places(self, settings: Settings) -> tuple[list[str], bool]:
        """Say which folders and files are missing, and whether there is no place that a script could come from."""
        missing, problems = 0, []
        for root in settings.script_roots:
            absent = f"there is no folder {root}"
            problem = self._problem_of(root, os.path.isdir, absent)
            missing += problem == absent
            problems += [f"Property ScriptRoots: {problem}."] if problem else []
        no_roots = missing == len(settings.script_roots)
        if not settings.script_roots:
            problems.append("Property ScriptRoots names no folder.")
        if no_roots and settings.git_repositories:
            problems.append("Only scripts from git can be run.")
        token = settings.git_token_file
        if token and (problem := self._problem_of(token, _is_readable, f"there is no file {token} that can be read")):
            problems.append(f"Property GitTokenFile: {problem}.")
        return problems, no_roots and not settings.git_repositories

    def _problem_of(self, path: str, is_good: Callable[[str], bool], otherwise: str) -> str:
        try:
            return "" if self._finder.find(path, lambda: is_good(path), path) else otherwise
        except NoAnswerError as error:
            return str(error)

    def _look_at_abort_script(self, settings: Settings) -> tuple[ExecutableScript | None, str, list[str]]:
        """Return the abort script, where it is, and what is wrong with it.

        While its file system does not answer it is taken to be where it was: its process reads it, and sees.
        """
        uri, roots, last = settings.abort_script, settings.script_roots, self._found
        if not uri:
            return None, "", []
        script: ExecutableScript | None = None
        path = ""
        try:
            script = script_of_uri(uri)
            place = place_of(getattr(script, "path", ""), roots)
            return script, self._finder.find(uri, lambda: find_script(script, settings), f"abort {place}"), []
        except NoAnswerError as error:
            if script == last.abort_script and roots == last.settings.script_roots:
                path = last.abort_path
            return script, path, [f"The script that AbortScript names does not answer: {error}."]
        except (OetError, OSError, ValueError) as error:
            return script, "", [f"The property AbortScript is of no use: {error}."]


def _is_readable(path: str) -> bool:
    return os.access(path, os.R_OK)


def _with_what_was_started(settings: Settings, started: Settings) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings, those that are read when the server starts as they were then; and what to say of that."""
    changed = [
        item for item in BY_NAME.values() if item.field in _READ_ONCE and _differs(item.field, settings, started)
    ]
    settings = dataclasses.replace(settings, **{field: getattr(started, field) for field in _READ_ONCE})
    return settings, tuple(f"{item.name} takes effect when the server is started again." for item in changed)


def _differs(field: str, one: Settings, other: Settings) -> bool:
    return bool(getattr(one, field) != getattr(other, field))
