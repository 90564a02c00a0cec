"""Leaves while it is imported."""

import sys

sys.exit(0)


def main():
    pass
