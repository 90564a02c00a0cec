"""The magic commands themselves; their docstrings are what `%oet_run?` shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import no_var_expand

from ..client import OetClient, Procedure, UnknownProcedure, arguments, newest_stopped
from ._arguments import parse_run, split, value_of
from ._display import Description, Procedures, Stopped
from ._session import Session
from ._watch import show_output, watch

_SHOWN = 20  # procedures of a list, unless all are asked for


class Magics:
    """The magics of one shell.

    :param shell: whose names `$name` and `{expression}` mean
    """

    def __init__(self, shell: Any, session: Session) -> None:
        self._shell = shell
        self._session = session

    def by_name(self) -> dict[str, Callable[[str], Any]]:
        """Return the magics, under the names that they have in the shell."""
        magics = (
            self.oet_device,
            self.oet_run,
            self.oet_list,
            self.oet_stop,
            self.oet_output,
            self.oet_watch,
            self.oet_describe,
        )
        return {magic.__name__: magic for magic in magics}

    @no_var_expand
    def oet_device(self, line: str) -> OetClient:
        """Say which device the magics talk to, or choose one; returns its OetClient.

        %oet_device              shows the device: the one chosen, else $OET_DEVICE, else the only one of the database
        %oet_device NAME         talks to NAME from now on
        oet = %oet_device        the client, for all that has no magic: oet.history(), oet.requests(), oet.prepare(…)
        """
        name = line.strip()
        _refuse_option(name)
        return self._session.use(str(value_of(name, self._names))) if name else self._session.client

    @no_var_expand
    def oet_run(self, line: str) -> Procedure | None:
        """Run a script; returns its Procedure at once: p.state, p.wait(), p.stop(), p.output().

        %oet_run [-w] [-f FUNCTION] [-i VALUE | -i NAME=VALUE ...] SCRIPT [VALUE | NAME=VALUE ...]

        SCRIPT is a path below the device's ScriptRoots, a path of this machine that begins with /, ./, ../ or ~, a
        file:// URI, or $name of a GitScript.  What follows are the arguments of its function main, or of FUNCTION
        (-f); -i gives one to its init.  A VALUE is JSON or a Python literal, $name or {expression} with the shell's
        own names, else text as it stands.  -w watches it to its end, as %oet_watch does.

        %oet_run scan.py
        p = %oet_run scan.py [[20, 60], [35, 45]] dwell=2
        %oet_run -i subarray_id=2 hello.py Anna seconds={2 * pause}
        """
        run = parse_run(line, self._names)
        init = arguments(*run.init_args, **run.init_kwargs)
        try:
            procedure = self._session.client.run(run.script, *run.args, fn=run.function, init=init, **run.kwargs)
        except (TypeError, ValueError) as error:  # what is no JSON, or no script
            raise UsageError(str(error)) from None
        if run.watch:
            watch(self._session.client, procedure)
            return None
        return procedure

    def oet_list(self, line: str) -> Procedures:
        """List the procedures of the device, the newest last; returns their summaries.

        %oet_list                the newest 20
        %oet_list -a             all that the device has at hand
        """
        if line.strip() not in ("", "-a"):
            raise UsageError(f"{line.strip()}: %oet_list takes -a, or nothing")
        found = self._session.client.summaries()
        shown = found if line.strip() else found[-_SHOWN:]
        return Procedures(shown, len(found) - len(shown))

    @no_var_expand
    def oet_stop(self, line: str) -> Stopped:
        """Stop a procedure; the device's abort script follows, if it has one.

        %oet_stop                the active one: refused where it is not clear which that is
        %oet_stop 3
        %oet_stop 3 clouds are coming     the reason is kept in the record; the id may be left out here, too
        """
        first, _, rest = line.strip().partition(" ")
        which = self._named(first)
        _refuse_option(line if which is None else rest)
        if which is not None:
            procedure = self._session.procedure(which)
            before = procedure.summary()
            followers = procedure.stop(rest.strip())
            ended = before if before.state.is_terminal else None
            return Stopped(procedure, followers[0] if followers else None, ended)
        client = self._session.client
        followers = client.stop(line.strip())
        uid = newest_stopped(client, [follower.id for follower in followers])
        stopped = None if uid is None else self._session.procedure(uid)
        return Stopped(stopped, followers[0] if followers else None)

    @no_var_expand
    def oet_output(self, line: str) -> None:
        """Show what a procedure has printed.

        %oet_output              of the active one, or of the last one that was; of an abort script only while it runs
        %oet_output 3
        %oet_output 3 -f         goes on until it has ended; Ctrl-C leaves it running
        """
        words = split(line)
        which = self._one_of([word for word in words if word != "-f"])
        show_output(self._session.asked_for() if which is None else self._session.procedure(which), "-f" in words)

    @no_var_expand
    def oet_watch(self, line: str) -> None:
        """Show the progress of a procedure in one line, until it has ended; Ctrl-C leaves it running.

        %oet_watch               of the active one, or of the last one that was
        %oet_watch 3
        """
        watch(self._session.client, self._session.procedure(self._one_of(split(line))))

    @no_var_expand
    def oet_describe(self, line: str) -> Description:
        """Tell all of a procedure: state and reason, who asked for what, calls, result, traceback.

        %oet_describe            of the active one, or of the last one that was; of an abort script only while it runs
        %oet_describe 3          also by its run id, and from before a restart
        """
        which = self._one_of(split(line))
        return Description((self._session.asked_for() if which is None else self._session.procedure(which)).summary())

    @property
    def _names(self) -> dict[str, Any]:
        names: dict[str, Any] = self._shell.user_ns
        return names

    def _one_of(self, words: list[str]) -> Any:
        """Return the procedure that the words name; None: the active one."""
        if not words:
            return None
        _refuse_option(words[0])
        which = self._named(words[0])
        if which is None:
            raise UnknownProcedure(f"{words[0]} is no id of a procedure", "OET_UnknownProcedure")
        if len(words) > 1:
            raise UsageError(f"one procedure at a time: {' '.join(words)}")
        return which

    def _named(self, word: str) -> Any:
        """Return what a word names: an id, a run id, a Procedure of the shell; None if it names none."""
        if not word:
            return None
        if word[0] in "${":
            return value_of(word, self._names)
        return word if word.isascii() and (word.isdigit() or _looks_like_run_id(word)) else None


def _refuse_option(words: str) -> None:
    first = words.split()[:1]
    if first and first[0].startswith("-"):
        raise UsageError(f"{first[0]}: there is no such option")


def _looks_like_run_id(word: str) -> bool:
    return len(word) == 36 and word.count("-") == 4
