"""The devices of a telescope, as a site names them: one a subarray, each in a server of its own."""

from __future__ import annotations

from dataclasses import dataclass

MOST_SUBARRAYS = 99
"""That a member of two digits can name."""

TELESCOPES = {"mid": "SKA-Mid", "low": "SKA-Low"}
"""What they are called, by what their devices' names begin with."""


@dataclass(frozen=True)
class Subarrays:
    """The subarrays of one telescope.

    :param telescope: mid or low
    :param count: how many there are, from 1
    :raises ValueError: neither telescope, or a number of subarrays that nobody has
    """

    telescope: str
    count: int

    def __post_init__(self) -> None:
        if self.telescope not in TELESCOPES:
            raise ValueError(f"{self.telescope!r} is no telescope: {' or '.join(TELESCOPES)}")
        if not 1 <= self.count <= MOST_SUBARRAYS:
            raise ValueError(f"{self.count} is not a number of subarrays from 1 to {MOST_SUBARRAYS}")

    @property
    def title(self) -> str:
        """What a person calls them."""
        return f"{TELESCOPES[self.telescope]}, {self.count} subarray{'s' * (self.count > 1)}"

    @property
    def members(self) -> tuple[str, ...]:
        """Their numbers as two digits: the last part of the devices' names, and the servers' instances."""
        return tuple(f"{number:02}" for number in range(1, self.count + 1))

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of their devices, such as mid-oet/subarray/01."""
        return tuple(self.device(member) for member in self.members)

    def device(self, member: str) -> str:
        """Return the name of one device."""
        return f"{self.telescope}-oet/subarray/{member}"
