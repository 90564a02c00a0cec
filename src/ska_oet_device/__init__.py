"""A Tango device server that executes observing scripts in supervised processes of their own."""

__version__ = "0.2.0"
