"""Prints one line."""


def main(line="a line"):
    print(line)
