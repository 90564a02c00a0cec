"""The attributes that other devices of the SKA expect of one: rows of the table."""

from __future__ import annotations

from ._attribute import Attribute

SKA_ATTRIBUTES: tuple[Attribute, ...] = ()
"""In the order in which they are pushed."""
