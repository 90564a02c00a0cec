"""Never returns from its import."""

import time

time.sleep(300)


def main():
    pass
