"""Calibrates the pointing, and finds out that it cannot."""


class PointingError(Exception):
    """An antenna cannot point at the source."""


def point(antenna, source, elevation):
    if elevation < 15:
        raise PointingError(
            f"{antenna} does not reach {source}: elevation {elevation} deg is below the limit of 15 deg"
        )


def main(source="J0437-4715"):
    """Point one antenna after the other."""
    for antenna, elevation in (("SKA001", 15.3), ("SKA036", 14.8)):
        print(f"{antenna}: pointing at {source}")
        point(antenna, source, elevation)
