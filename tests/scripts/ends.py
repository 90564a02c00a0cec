"""Ends in the way that it is told."""

from _endings import end


def main(how):
    end(how)


def part(how):
    """A function that is not main."""
    end(how)
