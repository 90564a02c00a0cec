"""Defines no main."""


def calibrate():
    pass


def measure():
    pass
