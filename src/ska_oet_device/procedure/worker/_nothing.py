"""The script of a rehearsal."""


def main() -> None:
    """Do nothing."""
