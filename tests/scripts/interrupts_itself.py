"""Raises what a keyboard would."""


def main():
    raise KeyboardInterrupt
