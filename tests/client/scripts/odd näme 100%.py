"""Has a name that has to be quoted."""


def main():
    return __file__
