"""Returns what it was given."""


def init(*args, **kwargs):
    global given
    given = [list(args), kwargs]


def main(*args, **kwargs):
    return {"init": given, "main": [list(args), kwargs]}
