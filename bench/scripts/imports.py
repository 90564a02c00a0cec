"""Does nothing, but imports what most observing scripts import."""

import numpy
import tango


def main():
    """Return at once."""
    return numpy.pi, tango.DevState.ON
