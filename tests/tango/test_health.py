"""healthState and Status tell whether this server can do its job."""

from support.tango_server import EventRecorder
from support.waiting import wait_until


def test_a_healthy_server_says_so(oet):
    assert oet.proxy.healthState.name == "OK"
    assert oet.proxy.Status().startswith("Ready: ")


def test_a_module_of_preload_that_cannot_be_imported_degrades_but_scripts_still_run(oet):
    with oet.properties(Preload=["no_such_module_at_all", "colorsys"]):
        oet.recorder.wait_for("healthState", lambda value: value == 1)
        status = oet.recorder.wait_for("Status", lambda status: "no_such_module_at_all" in status).value
        assert "cannot be imported" in status
        assert oet.proxy.healthState.name == "DEGRADED"
        assert oet.proxy.State().name == "ON"
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
    oet.recorder.wait_for("healthState", lambda value: value == 0)
    wait_until(lambda: "no_such_module_at_all" not in oet.proxy.Status(), 10, "Status is clean again")


def test_a_module_of_preload_is_imported_before_the_script_asks(oet, scratch):
    (scratch / "finds_preloaded.py").write_text(
        "import sys\n\ndef main():\n    assert 'colorsys' in sys.modules, 'it was not preloaded'\n"
    )
    with oet.properties(Preload=["colorsys"]):
        uid = oet.run("finds_preloaded.py")
        end = oet.recorder.wait_for_end(uid, 20)
        assert (end["state"], end["reason"]) == ("COMPLETE", "completed")


def test_a_module_that_starts_a_thread_is_told_of_and_done_without(own_server, tmp_path):
    (tmp_path / "threaded_module.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    )
    oet = own_server(environment={"PYTHONPATH": str(tmp_path)}, Preload=["threaded_module"])
    wait_until(lambda: "starts a thread" in oet.proxy.Status(), 20, "Status tells of it")
    assert oet.proxy.healthState.name == "DEGRADED"
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"


def test_health_is_pushed_to_newcomers(oet):
    newcomer = EventRecorder(oet.proxy, ("healthState",))
    try:
        assert newcomer.values("healthState") == [0]
    finally:
        newcomer.close()


def test_an_abort_script_that_is_no_uri_is_told_of(oet):
    with oet.properties(AbortScript="abort.py"):
        assert "Property AbortScript: 'abort.py' is not the URI of a script" in oet.proxy.Status()
    assert "AbortScript" not in oet.proxy.Status()
