"""What a script forks is a process as any other, and what it says is heard."""

from __future__ import annotations

import pytest
from support.waiting import wait_until

PROGRESS = "script.progress"


def _ended(main, path, seconds=60):
    uid = main.running(path)
    assert main.wait_for_end(uid, seconds).reason == "completed"
    return uid


FORKS = {
    "a process of multiprocessing": """
        process = multiprocessing.get_context("fork").Process(target=report_progress, args=(90, "child"))
        process.start()
        process.join()
    """,
    "a pool": """
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.starmap(report_progress, [(90, "child")])
    """,
    "os.fork": """
        if os.fork() == 0:
            report_progress(90, "child")
            os._exit(0)
        os.wait()
    """,
    "a grandchild": """
        if os.fork() == 0:
            if os.fork() == 0:
                report_progress(90, "child")
                os._exit(0)
            os.wait()
            os._exit(0)
        os.wait()
    """,
    "a thread's child": """
        def fork():
            process = multiprocessing.get_context("fork").Process(target=report_progress, args=(90, "child"))
            process.start()
            process.join()
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    """,
    "a thread": """
        thread = threading.Thread(target=report_progress, args=(90, "child"))
        thread.start()
        thread.join()
    """,
}


@pytest.mark.parametrize("how", FORKS)
def test_progress_is_told_in_the_order_of_events_whoever_reports_it(main, script, how):
    path = script(
        "import multiprocessing, os, threading\n"
        "from ska_oet_device.scripting import report_progress\n"
        "def main():\n"
        '    report_progress(10, "before")\n'
        + FORKS[how].replace("\n    ", "\n")
        + '\n    report_progress(95, "after")\n'
    )
    uid = _ended(main, path)
    assert [said["activity"] for said in main.said(uid, PROGRESS)] == ["before", "child", "after"]
    ready = ("LifecycleMessage", uid)
    order = [
        entry[:2] if entry[0] != "message" else entry[2]["activity"] for entry in main.told.order if entry[1] == uid
    ]
    assert order.index(ready, order.index("before")) > order.index("after")


def test_a_child_that_is_ended_at_once_ends(main, script):
    path = script("""
        import os, signal
        def main():
            for _ in range(300):
                pid = os.fork()
                if pid == 0:
                    signal.pause()
                    os._exit(1)
                os.kill(pid, signal.SIGTERM)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    """)
    _ended(main, path)


def test_what_a_child_said_last_comes_before_the_return_of_the_function(main, script):
    path = script(
        """
        import os
        from pubsub import pub

        def speak(count):
            if os.fork() == 0:
                for number in range(count):
                    pub.sendMessage("said", number=number, text="x" * 1000)
                os._exit(0)
            os.wait()

        main = speak
        """
    )
    uid = main.ready(path)
    main.run(uid, "speak", 300)
    main.wait_for_message(uid, "said")
    main.run(uid, "speak", 1)
    wait_until(lambda: main.states(uid).count("READY") == 3, 60, "both calls have returned")
    order = [entry[2] for entry in main.told.order if entry[1] == uid and entry[2] is not None]
    told = [each["number"] if isinstance(each, dict) else each.name for each in order]
    assert told[told.index("READY") :] == ["READY", "RUNNING", *range(300), "READY", "RUNNING", 0, "READY"]


def test_a_large_message_of_a_child_is_told_without_what_it_carries(main, script):
    path = script(
        """
        import os
        from pubsub import pub

        def main():
            if os.fork() == 0:
                for size in (100_000, 2_000_000):
                    pub.sendMessage("said", text="x" * size)
                os._exit(0)
            os.wait()
        """
    )
    uid = _ended(main, path)
    assert [len(said.get("text", "")) for said in main.said(uid, "said")] == [100_000, 0]


def test_a_child_that_returns_from_the_function_ends(main, script):
    path = script(
        """
        import os
        from pubsub import pub

        def observe():
            pid = os.fork()
            if pid:
                pub.sendMessage("ended", status=os.waitpid(pid, 0)[1])

        main = observe
        """
    )
    uid = main.ready(path)
    main.run(uid, "observe")
    assert main.wait_for_message(uid, "ended") == {"status": 0}


def test_a_stop_amid_the_messages_of_children_is_a_stop(main, script):
    path = script(
        """
        import os
        from pubsub import pub

        def main():
            if os.fork() == 0:
                while True:
                    pub.sendMessage("said", text="x" * 1000)
            pub.sendMessage("armed")
            os.wait()
        """
    )
    uid = main.armed(path)
    main.stop(uid)
    end = main.wait_for_end(uid, 60)
    assert (end.new_state.name, end.exit["signals_sent"]) == ("STOPPED", ["SIGTERM"])


HANDLERS = """
    import multiprocessing, os, signal, subprocess, sys, time
    from pubsub import pub

    def handler(*_):
        sys.exit(7)

    def first():
        before = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *args: before(*args))

    def status_of(target, method="fork"):
        reader, writer = os.pipe()
        process = multiprocessing.get_context(method).Process(target=target, args=(writer,))
        process.start()
        os.read(reader, 1)  # what comes before, while it is being made, no handler of the script's answers
        process.terminate()
        process.join()
        pub.sendMessage("ended", status=process.exitcode)

    def sleep(writer):
        os.write(writer, b"!")
        for _ in range(1000):  # a signal just before one sleep does not cut it short, and is answered behind it
            time.sleep(0.02)

    def main():
        pass

    def own():
        signal.signal(signal.SIGTERM, handler)
        status_of(sleep)

    def ours():
        status_of(sleep)

    def ours_by_way_of_the_scripts():
        first()
        status_of(sleep)

    def ignored():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.6,))
        process.start()
        process.terminate()
        process.join()
        pub.sendMessage("ended", status=process.exitcode)

    def interrupt():
        signal.signal(signal.SIGINT, handler)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            sleep(writer)
        os.read(reader, 1)
        os.kill(pid, signal.SIGINT)
        pub.sendMessage("ended", status=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def program():
        process = subprocess.Popen(["sleep", "20"])
        process.terminate()
        pub.sendMessage("ended", status=process.wait())
"""


@pytest.mark.parametrize(
    ("function", "status"),
    [
        ("own", 7),
        ("ours", -15),
        ("ours_by_way_of_the_scripts", -15),
        ("ignored", 0),
        ("interrupt", 7),
        ("program", -15),
    ],
)
def test_a_childs_handlers_of_signals_are_those_of_the_script(main, script, function, status):
    uid = main.ready(script(HANDLERS))
    main.run(uid, function)
    assert main.wait_for_message(uid, "ended") == {"status": status}


def test_what_a_listener_starts_can_be_ended_by_a_signal(main, script):
    path = script(
        """
        import os, signal, subprocess
        from pubsub import pub

        def listen(text):
            pub.sendMessage("blocked", here=[int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())])
            process = subprocess.Popen(["sleep", "20"])
            process.terminate()
            pub.sendMessage("ended", status=process.wait(5))

        pub.subscribe(listen, "news")
        main = listen
        """,
        "hears.py",
    )
    hearing = main.ready(path)
    speaking = main.ready(script("from pubsub import pub\ndef main(): pub.sendMessage('news', text='x')"))
    main.run(speaking)
    assert main.wait_for_message(hearing, "blocked") == {"here": []}
    assert main.wait_for_message(hearing, "ended") == {"status": -15}
