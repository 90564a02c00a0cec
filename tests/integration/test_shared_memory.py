"""MaxMemory counts shared memory, too: main looks, since the kernel's limit on a process does not."""

from __future__ import annotations

import pytest

MIB = 1024 * 1024

pytestmark = pytest.mark.long

ANONYMOUS = """
    import mmap, time
    from pubsub import pub
    def main():
        memory = mmap.mmap(-1, {size})
        for place in range(0, {size}, 4096):
            memory[place] = 1
        pub.sendMessage("armed")
        time.sleep({seconds})
"""
NAMED = """
    import time
    from multiprocessing.shared_memory import SharedMemory
    from pubsub import pub
    def main():
        memory = SharedMemory(create=True, size={size})
        try:
            for place in range(0, {size}, 4096):
                memory.buf[place] = 1
            pub.sendMessage("armed")
            time.sleep({seconds})
        finally:
            memory.close()
            memory.unlink()
"""
OF_A_CHILD = """
    import mmap, os, time
    from pubsub import pub
    def main():
        if os.fork() == 0:
            if os.fork() == 0:
                memory = mmap.mmap(-1, {size})
                for place in range(0, {size}, 4096):
                    memory[place] = 1
                time.sleep(600)
            time.sleep(600)
        time.sleep(600)
"""


@pytest.mark.parametrize("source", [ANONYMOUS, NAMED, OF_A_CHILD], ids=["anonymous", "named", "of a child"])
def test_more_than_MaxMemory_ends_the_procedure_and_says_why(main, script, source):
    uid = main.running(script(source.format(size=100 * MIB, seconds=600)), max_memory=64 * MIB, grace=2.0)
    end = main.wait_for_end(uid)
    assert end.new_state.name == "FAILED"
    assert "MiB of shared memory; MaxMemory is 64 MiB" in end.reason


@pytest.mark.parametrize("source", [ANONYMOUS, NAMED], ids=["anonymous", "named"])
@pytest.mark.parametrize(("size", "limit"), [(32 * MIB, 64 * MIB), (100 * MIB, 0)])
def test_less_than_that_or_no_limit_does_not(main, script, source, size, limit):
    path = script(source.format(size=size, seconds=3))  # main looks once a second
    uid = main.running(path, max_memory=limit)
    assert main.wait_for_end(uid).new_state.name == "COMPLETE"
