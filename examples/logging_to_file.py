"""Logging: a file of the script's own, with all its lines."""

import logging
import time

log = logging.getLogger(__name__)


def init(path):
    logging.basicConfig(filename=path, level=logging.DEBUG, format="%(asctime)s %(levelname)s %(message)s")


def main(places=("M31", "M33"), dwell=0.1):
    try:
        for place in places:
            log.info("observing %s", place)
            time.sleep(dwell)
            log.debug("observed %s", place)
    finally:
        log.info("parked")
