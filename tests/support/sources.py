"""Scripts that the tests of several files use."""

from __future__ import annotations

NOTHING = "def main():\n    pass\n"
SLEEPING = "import time\ndef main():\n    time.sleep(600)\n"
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
