"""A script as it should be: init, main, and other functions."""


def init(subarray_id=1):
    """Prepare."""
    if not isinstance(subarray_id, int):
        raise TypeError("subarray_id is a number")


def main(scans=0):
    """Observe."""
    return scans


def calibrate(source="default"):
    """Do a part of the work, as often as asked."""
    return source
