"""Writes down how its functions are called: a line of JSON a call."""

import json


def _write(path, entry):
    with open(path, "a", encoding="ascii") as file:
        file.write(json.dumps(entry) + "\n")


def init(path, *args, context, **kwargs):
    _write(path, {"fn": "init", "args": args, "kwargs": {**kwargs, "context": context}})


def main(path, *args, context, **kwargs):
    _write(path, {"fn": "main", "args": args, "kwargs": {**kwargs, "context": context}})


def narrow(path, number=0):
    """Accepts no context."""
    _write(path, {"fn": "narrow", "number": number})


def named(path, context):
    """Names the context."""
    _write(path, {"fn": "named", "context": context})
