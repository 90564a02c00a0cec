"""Imports what it is told to."""

import importlib


def main(*names):
    for name in names:
        importlib.import_module(name)
