"""Ends while it is initialised."""

from _endings import end


def init(how):
    end(how)


def main():
    pass
