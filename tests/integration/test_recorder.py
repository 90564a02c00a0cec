"""What scripts print is kept within MaxOutput at every moment, and nothing of it is lost when the recorder is."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from support.processes import children_of, is_gone, let_go_on, suspend
from support.waiting import wait_until

from ska_oet_device.mptools import title_of
from ska_oet_device.procedure import messages

pytestmark = pytest.mark.long

LIMIT = 200_000
SLACK = 2 * 4096  # bytes of blocks that are not full
NUMBERED = """
    import os, time
    from pubsub import pub
    def main(lines):
        for number in range(lines):
            print(number)
            if number == lines // 10:
                pub.sendMessage("armed")
            if number % 100 == 0:
                time.sleep(0.001)
"""


class Sampler(threading.Thread):
    """Looks at a file all the time: how much it has had on the disk at most."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.most = self.looks = 0
        self.is_over = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()

    def run(self):
        while not self.is_over.is_set():
            self.look()

    def look(self):
        try:
            self.most = max(self.most, self.path.stat().st_blocks * 512)
        except FileNotFoundError:
            return
        self.looks += 1


@pytest.fixture
def log(tmp_path):
    return tmp_path.resolve() / "1.log"


@pytest.fixture
def main(new_main, in_main):
    """One that tells of no end before all is in the file: it would after 2 s, and another recorder may need more."""
    return new_main(env=in_main("from ska_oet_device.procedure.supervision import _output\n_output._PATIENCE = 60.0\n"))


def recorder_of(main, other_than=None):
    def found():
        return [pid for pid in children_of(main.pid) if title_of(pid) == "oet-output" and pid != other_than]

    return wait_until(found, 20, "a recorder")[0]


@pytest.mark.parametrize(
    "source",
    [
        "import os\ndef main():\n    for _ in range(800): os.write(1, b'x' * 65536)\n",
        "import subprocess\ndef main(): subprocess.run('yes | head -c 50000000', shell=True, check=True)\n",
        "import subprocess\ndef main(): subprocess.run('head -c 50000000 /dev/zero >&2', shell=True, check=True)\n",
        "def main():\n    for number in range(100_000): print('a line', number)\n",
    ],
    ids=["by descriptor", "a program", "standard error", "print"],
)
def test_the_limit_holds_at_every_moment(main, script, log, source):
    path = script(source)
    with Sampler(log) as sampler:
        while sampler.looks <= 10:  # a busy machine may let it have no look before a script has ended
            log.unlink(missing_ok=True)
            uid = main.ready(path, output=log, max_output=LIMIT)
            main.run(uid)
            assert main.wait_for_end(uid, 60).reason == "completed"
    sampler.look()
    assert sampler.most <= LIMIT + SLACK
    assert log.stat().st_size > 1_000_000


def test_the_limit_holds_for_a_script_that_ends_at_once(main, script, log):
    source = "def main(): print('first')\n" + "for _ in range(11): print('x' * 100_000)\nprint('last')\n"
    uid = main.create(script(source), output=log, max_output=LIMIT)
    main.wait_for(uid, "READY")
    main.run(uid)
    main.wait_for_end(uid)
    assert log.stat().st_blocks * 512 <= LIMIT + SLACK
    assert log.read_bytes().endswith(b"last\nfirst\n")


def test_the_limit_may_change_while_a_script_prints(main, script, log):
    path = script("""
        import os
        from pubsub import pub
        def main():
            os.write(1, b"x" * 1_000_000)
            pub.sendMessage("armed")
            while True:
                os.write(1, b"x" * 10_000)
    """)
    uid = main.armed(path, output=log)
    main.send(messages.LimitOutput("mid-oet/subarray/01", LIMIT))
    wait_until(lambda: log.stat().st_blocks * 512 <= LIMIT + SLACK, 20, "the file is shortened")
    with Sampler(log) as sampler:
        wait_until(lambda: sampler.looks > 100, 20, "it was looked at")
    assert sampler.most <= LIMIT + SLACK
    main.stop(uid)
    main.wait_for_end(uid)


def test_a_silent_script_is_shortened_too_when_the_limit_is_lower(main, script, log):
    path = script("""
        import time
        from pubsub import pub
        def main():
            print("x" * 1_000_000)
            pub.sendMessage("armed")
            time.sleep(600)
    """)
    uid = main.armed(path, output=log)
    wait_until(lambda: log.exists() and log.stat().st_size == 1_000_001, 20, "all is written")
    main.send(messages.LimitOutput("mid-oet/subarray/01", LIMIT))
    wait_until(lambda: log.stat().st_blocks * 512 <= LIMIT + SLACK, 20, "the file is shortened")
    main.stop(uid)
    main.wait_for_end(uid)


@pytest.mark.parametrize("times", [1, 3])
def test_nothing_is_lost_nor_doubled_when_the_recorder_is_killed(main, script, log, times):
    uid = main.ready(script(NUMBERED), output=log)
    main.run(uid, "main", 20_000)
    main.wait_for_message(uid, "armed")
    killed = None
    for _ in range(times):
        killed = recorder_of(main, killed)
        os.kill(killed, signal.SIGKILL)
    main.see()
    assert main.wait_for_end(uid, 60).reason == "completed"
    assert log.read_text() == "".join(f"{number}\n" for number in range(20_000))


def test_last_words_behind_the_death_of_the_recorder_are_there_when_the_end_is_told(main, script, log):
    path = script("""
        import os, signal
        def main():
            print("first")
            for child in open(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read().split():
                if open(f"/proc/{child}/cmdline").read().startswith("oet-output"):
                    os.kill(int(child), signal.SIGKILL)
            print("last")
            os._exit(3)
    """)
    uid = main.ready(path, output=log)
    main.run(uid)
    assert main.wait_for_end(uid).exit["exit_code"] == 3
    assert log.read_text() == "first\nlast\n"


def test_a_script_is_ready_while_a_recorder_hangs(main, script, log):
    main.ready(script(NUMBERED), output=log)  # there is one
    stopped = recorder_of(main)
    main.see()
    began = time.monotonic()
    suspend(stopped)
    try:
        uid = main.ready(script("print('loaded')\ndef main(): pass\n"), output=log.with_name("another.log"))
        # On a busy machine this may take longer than a recorder may hang.
        assert not is_gone(stopped) or time.monotonic() - began > 4, "nobody has waited until it was replaced"
    finally:
        let_go_on(stopped)
    main.run(uid)
    assert main.wait_for_end(uid).reason == "completed"
    assert log.with_name("another.log").read_text() == "loaded\n"


@pytest.mark.long
def test_a_recorder_that_hangs_is_replaced(main, script, log):
    uid = main.ready(script(NUMBERED), output=log)
    stopped = recorder_of(main)
    main.see()
    suspend(stopped)
    main.run(uid, "main", 20_000)
    wait_until(lambda: is_gone(stopped), 30, "it is killed")
    assert main.wait_for_end(uid, 60).reason == "completed"
    assert log.read_text() == "".join(f"{number}\n" for number in range(20_000))


@pytest.mark.parametrize(
    "prints",
    [
        "while True: print('x' * 1000)",
        "while True: print('.' * 100, end='')",
        "fill(); print('.', end=''); time.sleep(600)",
    ],
    ids=["lines", "dots", "a dot behind"],
)
def test_a_script_can_be_stopped_while_it_waits_for_a_recorder_that_hangs(new_main, script, log, prints):
    main = new_main()  # it waits no longer than usual
    path = script(f"""
        import os, time
        def fill():
            pipe = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_NONBLOCK)
            try:
                while True: os.write(pipe, b"x" * 4096)
            except BlockingIOError: pass
        def main():
            {prints}
    """)
    uid = main.ready(path, output=log, grace=20.0)
    recorder = recorder_of(main)
    suspend(recorder)
    main.run(uid)
    main.wait_for(uid, "RUNNING")
    started = time.monotonic()
    main.stop(uid)
    assert main.wait_for_end(uid, 30).exit["signals_sent"] == ["SIGTERM"]
    assert time.monotonic() - started < 15
    let_go_on(recorder)


def test_what_is_in_the_pipe_when_main_is_killed_is_written_and_the_recorder_ends(
    new_main, in_main, script, log, tmp_path
):
    # Else a main that is not killed soon takes the recorder for one that hangs, and replaces it.
    main = new_main(
        env=in_main("from ska_oet_device.procedure.supervision import _recorder\n_recorder._HANGS_AFTER = 60.0\n")
    )
    path = script(
        """
        import os, time
        from pubsub import pub
        def main():
            pub.sendMessage("armed")
            while not os.path.exists("FOLDER/go"):
                time.sleep(0.01)
            os.write(1, b"x" * 50_000)
            open("FOLDER/done", "w").close()
            time.sleep(600)
    """.replace("FOLDER", str(tmp_path))
    )
    main.armed(path, output=log)
    recorder = recorder_of(main)
    main.see()
    suspend(recorder)
    (tmp_path / "go").touch()
    wait_until((tmp_path / "done").exists, 20, "it has printed")
    main.kill()
    let_go_on(recorder)
    wait_until(lambda: is_gone(recorder), 20, "the recorder has ended")
    assert log.read_bytes() == b"x" * 50_000


def test_a_program_that_makes_the_pipe_one_that_does_not_wait_harms_nobody(main, script, log):
    path = script("""
        import os
        def main():
            os.set_blocking(1, False)
            for number in range(50_000):
                print(number)
    """)
    uid = main.ready(path, output=log)
    main.run(uid)
    assert main.wait_for_end(uid, 60).reason == "completed"
    assert log.read_text() == "".join(f"{number}\n" for number in range(50_000))


def test_a_recorder_is_asked_to_end_by_nobody_but_main(main, script, log):
    uid = main.ready(script("def main(): print('hello')\n"), output=log)
    recorder = recorder_of(main)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(recorder, signum)
    main.run(uid)
    main.wait_for_end(uid)
    assert log.read_text() == "hello\n"
    assert recorder_of(main) == recorder


def test_a_file_that_cannot_be_opened_is_a_problem_of_mains_until_one_can_be(main, script, tmp_path):
    path = script("def main(): print('hello')\n")
    (tmp_path / "a file").touch()
    for folder, expected in (("a file", ["cannot be kept"]), ("logs", [])):
        (tmp_path / "logs").mkdir(exist_ok=True)
        uid = main.ready(path, output=tmp_path / folder / "1.log")
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"
        wait_until(
            lambda expected=expected: (
                len(main.problems) == len(expected)
                and all(part in problem for part, problem in zip(expected, main.problems, strict=True))
            ),
            20,
            "main says so",
        )
        assert main.supplying


@pytest.mark.long
def test_a_recorder_that_ends_again_and_again_is_a_problem_of_mains_until_one_serves(main, script, log):
    uid = main.ready(script("def main(): print('hello')\n"), output=log)
    recorder = None
    for _ in range(3):
        assert main.problems == []
        recorder = recorder_of(main, other_than=recorder)
        os.kill(recorder, signal.SIGKILL)
        wait_until(lambda: is_gone(recorder), 20, "it has ended")  # noqa: B023
    wait_until(lambda: main.problems, 20, "main says so")
    assert "recorder" in main.problems[0]
    assert len(main.problems) == 1
    wait_until(lambda: not main.problems, 60, "a recorder has served")
    main.run(uid)
    main.wait_for_end(uid)
    assert log.read_text() == "hello\n"
