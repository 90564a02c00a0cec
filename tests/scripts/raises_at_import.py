"""Cannot be imported."""

raise LookupError("nothing can be found at import")


def main():
    pass
