"""The attributes by which dashboards choose what is to be done, so that nobody types JSON: rows of the table."""

from __future__ import annotations

from ._attribute import Attribute

OPERATOR_ATTRIBUTES: tuple[Attribute, ...] = ()
"""In the order in which they are pushed."""
