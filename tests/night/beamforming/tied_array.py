"""A tied-array beam."""


def main(beams=1):
    """Form the beams."""
    print(f"{beams} beams")
