"""What a script prints, as far as it is known by now: read page by page, and made harmless."""

from __future__ import annotations

from ._reach import page_of_output
from ._shell import Shell
from ._text import Harmless


class Output:
    """Reads on behind what has been read.

    :param uid: id of the procedure
    :param raw: whether the text stays as it is
    """

    def __init__(self, shell: Shell, uid: int, *, raw: bool = False) -> None:
        self._shell = shell
        self._uid = uid
        self._offset = 0
        self._filter = None if raw else Harmless(colours=shell.has_colours)
        self.is_complete = False

    def more(self) -> str:
        """Return the next piece of what was printed since; empty if there is nothing more now.

        A piece may be empty of which nothing is left: then `more` reads on by itself.
        """
        while not self.is_complete:
            page = page_of_output(self._shell.client, self._uid, self._offset)
            text: str = page["text"]
            self._offset = page["next_offset"]
            self.is_complete = bool(page["complete"]) and not text
            if not text:
                break
            shown = text if self._filter is None else self._filter.feed(text)
            if shown:
                return shown
        return ""

    def end(self) -> str:
        """Return what puts the colours of the terminal back."""
        return self._filter.end() if self._filter is not None else ""
