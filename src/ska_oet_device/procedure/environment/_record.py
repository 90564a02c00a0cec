"""What is written down of the latest attempt to build an environment.

A script can write anything there, and every device server reads it: what is odd is said, and harms nobody.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ...own_files import read_regular, write_regular

CREATING, READY, FAILED = "CREATING", "READY", "FAILED"

_LARGEST = 1024 * 1024  # bytes
_MOST = 2**53  # bytes, seconds: what a float can tell from its neighbours


@dataclass
class Record:
    """The latest attempt to build an environment; times in Unix seconds, sizes in bytes."""

    attempt: str = ""
    outcome: str = CREATING
    description: str = ""
    started: float = 0.0
    ended: float = 0.0
    size: int = 0
    linked: int = 0  # the part of the size in files that other environments or the cache have, too
    reason: str = ""
    packages: list[str] = field(default_factory=list)
    has_manifest: bool = False  # there is one: versions that wrote none leave this out

    @classmethod
    def read(cls, path: Path) -> Record:
        """Return what is written at `path`; an empty record if nothing is.

        What is no record counts as a failed attempt, whose reason says what is odd.
        """
        try:
            return cls(**_checked(_parsed(read_regular(path, _LARGEST))))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, RecursionError) as error:
            told = getattr(error, "strerror", None) or str(error)
            return cls("?", FAILED, reason=f"its {path.name} is not what was written there: {told}"[:300])

    @property
    def is_odd(self) -> bool:
        """Whether there was something else than a record."""
        return self.attempt == "?"

    def attempt_if_failed(self) -> str | None:
        """Return the attempt that ended as FAILED, if it did."""
        return self.attempt if self.outcome == FAILED else None

    def write(self, path: Path) -> None:
        """Write it in place of what is there, whatever that is.

        :raises OSError: that cannot be
        """
        import json

        write_regular(path, json.dumps(asdict(self), indent=1).encode())


def _parsed(written: bytes) -> Any:
    import json  # main reads one for each environment in use, and mostly none is

    with suppress(UnicodeDecodeError):
        return json.loads(written)
    raise ValueError("it is no text")


def _checked(written: Any) -> dict[str, Any]:
    """Return the fields of a record; those of later versions are left out.

    :raises ValueError: one has a value that cannot be
    """
    if not isinstance(written, dict):
        raise ValueError(f"it is a {type(written).__name__}")
    kinds = {each.name: str(each.type) for each in fields(Record)}
    known = {name: value for name, value in written.items() if name in kinds}
    for name, value in known.items():
        if not _is(kinds[name], value):
            raise ValueError(f"its {name} is odd")
    if known.get("outcome", CREATING) not in (CREATING, READY, FAILED):
        raise ValueError("its outcome is odd")
    return known


def _is(kind: str, value: Any) -> bool:
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    if kind in ("int", "float"):
        return isinstance(value, int if kind == "int" else int | float) and 0 <= value < _MOST  # NaN is neither
    if kind == "str":
        return isinstance(value, str)
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
