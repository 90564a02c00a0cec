"""Prints as fast as it can."""


def main():
    while True:
        print("x" * 100)
