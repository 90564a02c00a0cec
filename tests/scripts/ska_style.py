"""A script as the SKA's are written: topics of the OET, a main that init binds to a subarray, a log of its own."""

import functools
import logging
import os
import threading

from pubsub import pub
from ska_oso_oet.event import topics

LOG = logging.getLogger(__name__)
logging.basicConfig(level=logging.INFO, format="%(asctime)-15s %(message)s")


def announce(msg):
    pub.sendMessage(topics.user.script.announce, msg_src=threading.current_thread().name, msg=msg)


def init(subarray_id: int, init_arg=None):
    global main
    main = functools.partial(_main, subarray_id)
    LOG.info("bound to subarray %d, init_arg is %s", subarray_id, init_arg)


def _main(subarray_id: int, scans=(), sb_id="sbd-1", *args, **kwargs):
    LOG.info("process %d", os.getpid())
    pub.sendMessage(topics.subarray.resources.allocated, msg_src="script", subarray_id=subarray_id)
    pub.sendMessage(topics.sb.lifecycle.observation.started, msg_src="script", sb_id=sb_id)
    for scan in scans:
        pub.sendMessage(topics.scan.lifecycle.configure.started, msg_src="script", sb_id=sb_id, scan_id=scan)
        announce(f"scan {scan}")
    pub.sendMessage(topics.sb.lifecycle.observation.finished.succeeded, msg_src="script", sb_id=sb_id)
    pub.sendMessage(topics.subarray.resources.deallocated, msg_src="script", subarray_id=subarray_id)


def forgets_the_text():
    pub.sendMessage(topics.user.script.announce, msg_src="script")


def says_too_much():
    pub.sendMessage(topics.subarray.configured, msg_src="script", subarray_id=1, colour="red")
