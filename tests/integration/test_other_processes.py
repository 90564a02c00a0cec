"""Processes of a script's own: started by whatever means, they find its functions, and are heard."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.long

STARTED = """
    import concurrent.futures, dataclasses, enum, multiprocessing, os
    from pubsub import pub
    import beside

    class Colour(enum.Enum):
        RED = 1

    @dataclasses.dataclass
    class Place:
        name: str
        colour: Colour = Colour.RED

    print("loaded in", "a child" if multiprocessing.parent_process() else "the worker", flush=True)

    def square(number):
        return number * number, os.getpid()

    def visit(place):
        assert place.colour is Colour.RED, "one Enum in two processes"
        return Place(beside.shout(place.name))

    def main():
        context = multiprocessing.get_context({method!r})
        with context.Pool(2) as pool:
            results = pool.map(square, range(4))
        assert os.getpid() not in [pid for _, pid in results]
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            places = list(pool.map(visit, [Place("m31"), Place("m33")]))
        assert places == [Place("M31"), Place("M33")]
        process = context.Process(target=visit, args=(Place("x"),))
        process.start()
        process.join()
        pub.sendMessage("done", squares=[square for square, _ in results], status=process.exitcode)
"""


def _written(script, method):
    script("def shout(text): return text.upper()", "beside.py")
    return script(STARTED.format(method=method))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_scripts_functions_and_classes_are_found_in_processes_of_multiprocessing(main, script, method):
    uid = main.running(_written(script, method))
    assert main.wait_for_end(uid, 60).reason == "completed"
    assert main.said(uid, "done") == [{"squares": [0, 1, 4, 9], "status": 0}]


@pytest.mark.parametrize("change", ["unlink", "write_text"])
def test_what_a_process_imports_is_what_has_been_loaded(main, script, change):
    path = _written(script, "spawn")
    uid = main.ready(path)
    path.unlink() if change == "unlink" else path.write_text("raise RuntimeError('another text')")
    main.run(uid)
    assert main.wait_for_end(uid, 60).reason == "completed"


def test_a_script_whose_top_level_starts_processes_is_told_so_by_them(main, script):
    """In plain Python, too: there would be more and more of them."""
    path = script(
        """
        import multiprocessing

        def work():
            pass

        process = multiprocessing.get_context("spawn").Process(target=work)
        process.start()
        process.join()
        assert process.exitcode == 1

        def main():
            pass
        """
    )
    uid = main.running(path)
    assert main.wait_for_end(uid, 60).reason == "completed"


def test_a_process_that_is_given_another_environment_says_what_is_missing(main, script):
    path = script(
        """
        import os, subprocess, sys
        from pubsub import pub

        def main():
            code = f"import sys; sys.path[:] = {sys.path}; import user_module"
            ended = subprocess.run([sys.executable, "-c", code], env={}, stderr=subprocess.PIPE, text=True)
            pub.sendMessage("said", text=ended.stderr)
        """
    )
    uid = main.running(path)
    assert main.wait_for_end(uid, 60).reason == "completed"
    assert "no variable SKA_OET_SCRIPT_SOURCE" in main.said(uid, "said")[0]["text"]


def test_a_spawned_process_that_reports_progress_says_once_that_nobody_hears_it(main, script):
    path = script(
        """
        import multiprocessing, os, tempfile
        from pubsub import pub
        from ska_oet_device.scripting import report_progress

        def report(path):
            descriptor = os.open(path, os.O_WRONLY)
            os.dup2(descriptor, 2)
            report_progress(1)
            report_progress(2)

        def main():
            with tempfile.NamedTemporaryFile() as file:
                process = multiprocessing.get_context("spawn").Process(target=report, args=(file.name,))
                process.start()
                process.join()
                pub.sendMessage("printed", text=file.read().decode())
        """
    )
    uid = main.running(path)
    assert main.wait_for_end(uid, 60).reason == "completed"
    (printed,) = main.said(uid, "printed")
    assert printed["text"].count("is told to nobody") == 1
