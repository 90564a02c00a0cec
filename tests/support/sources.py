"""Scripts that the tests of several files use."""

from __future__ import annotations

NOTHING = "def main():\n    pass\n"
SLEEPING = "import time\ndef main():\n    time.sleep(600)\n"
END_MAIN_THREAD = """
import ctypes, platform, threading
def end_main_thread(go_on):
    threading.Thread(target=go_on).start()
    ctypes.CDLL(None).syscall({"aarch64": 93}.get(platform.machine(), 60), 0)  # exit(2), of this thread alone
"""
"""Defines what ends the main thread of a process, in which another one goes on with `go_on`."""
DEAF = """
    import time
    from pubsub import pub
    def main():
        while True:
            try:
                pub.sendMessage("armed")
                time.sleep(600)
            except BaseException:
                pass
"""
