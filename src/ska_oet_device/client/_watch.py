"""When a wait is over: what is known of a procedure, and its events, against the states that are waited for."""

from __future__ import annotations

from collections.abc import Iterable

from ._answers import LifecycleEvent, ProcedureState, Summary
from ._errors import NotReached, ProcedureError, ProcedureFailed, ProcedureStopped, StartDropped


class Wait:
    """A wait for one of some states of a procedure; no states: for its successful end.

    :param dropped: how many of its starts had been dropped before that which is waited for was asked for
    :raises ValueError: a state that does not exist
    """

    def __init__(self, uid: int, states: Iterable[ProcedureState | str], dropped: int = 0) -> None:
        self.uid = uid
        self.wanted = frozenset(map(ProcedureState, states)) or frozenset([ProcedureState.COMPLETE])
        self._dropped = dropped

    @property
    def is_for_the_end(self) -> bool:
        """Whether nothing is waited for that comes before the end."""
        return all(state.is_terminal for state in self.wanted)

    def is_over(self, event: LifecycleEvent) -> bool:
        """Say whether an event may end the wait, well or badly; whether it does, and how, is for a summary to say."""
        if event.process_uid != self.uid:
            return False
        return event.state in self.wanted or event.state.is_terminal or event.is_dropped_start

    def is_over_by(self, summary: Summary, event: LifecycleEvent | None = None) -> bool:
        """Say whether there is nothing to wait for any more.

        READY is reached when all functions that were asked for have returned, and not between two of them.

        :param event: what has happened before
        """
        if self._was_dropped(summary) or summary.state.is_terminal:
            return True
        if summary.state is ProcedureState.READY and summary.awaits_call:
            return False
        return summary.state in self.wanted or self._is_reached_by(event)

    def _is_reached_by(self, event: LifecycleEvent | None) -> bool:
        return event is not None and event.state in self.wanted and event.state is not ProcedureState.READY

    def _was_dropped(self, summary: Summary) -> bool:
        return summary.state is ProcedureState.READY and len(summary.dropped_starts) > self._dropped

    def outcome(self, summary: Summary, event: LifecycleEvent | None = None) -> Summary:
        """Return the summary, if the wait has ended well.

        :param event: the event that has ended the wait, if it was one
        :raises ProcedureFailed: it is FAILED or UNKNOWN, and this was not waited for
        :raises ProcedureStopped: likewise STOPPED
        :raises StartDropped: a start came to nothing
        :raises NotReached: it is COMPLETE, and has never been in a state that was waited for
        """
        if self._was_dropped(summary):
            raise StartDropped(f"procedure {summary.id} was not started: {summary.dropped_starts[-1]}", summary)
        if summary.state in self.wanted or self._is_reached_by(event):
            return summary
        if summary.state is ProcedureState.COMPLETE and self.wanted & {state for state, _ in summary.states}:
            return summary
        raise _error(summary)


def _error(summary: Summary) -> ProcedureError:
    text = f"procedure {summary.id} ({summary.script}) is {summary.state}: {summary.reason}"
    if summary.state is ProcedureState.STOPPED:
        return ProcedureStopped(text, summary)
    if summary.state is ProcedureState.COMPLETE:
        return NotReached(text, summary)
    return ProcedureFailed(text, summary)
