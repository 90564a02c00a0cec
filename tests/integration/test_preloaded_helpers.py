"""multiprocessing's helpers that a preloaded module has started stay the template's: a script has its own."""

from __future__ import annotations

MODULE = """
    from multiprocessing import forkserver, resource_tracker

    forkserver.ensure_running()
    resource_tracker.ensure_running()
"""


def test_a_script_has_a_forkserver_and_a_resource_tracker_of_its_own(preloading, script):
    main = preloading("starts_helpers", MODULE)
    path = script(
        """
        import multiprocessing, os, sys
        from multiprocessing import forkserver, resource_tracker
        from pubsub import pub

        def parent_of(pid):
            with open(f"/proc/{pid}/stat") as stat:
                return int(stat.read().rpartition(")")[2].split()[1])

        def work():
            pass

        def main():
            assert "starts_helpers" in sys.modules, "it was preloaded"
            process = multiprocessing.get_context("forkserver").Process(target=work)
            process.start()
            process.join()
            helpers = [forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid]
            pub.sendMessage("done", status=process.exitcode, ours=[parent_of(pid) == os.getpid() for pid in helpers])
        """
    )
    uid = main.running(path)
    assert main.wait_for_end(uid).reason == "completed"
    assert main.said(uid, "done") == [{"status": 0, "ours": [True, True]}]
