"""Standard streams and log of a worker, in real processes: whatever a script does to them is what Python lets it do."""

from __future__ import annotations

import re

import pytest
from support.main_process import MainProcess
from support.waiting import wait_until

SKA_LINE = re.compile(r"1\|[^|]*Z\|([A-Z]+)\|[^|]*\|[^|]*\|[^|]*#\d+\|[^|]*\|(.*)")

# What a script does, and what it has printed in the end.
STREAMS = {
    "wrapped anew": (
        "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\n"
        "def main(): print('αβγ')\n",
        "αβγ\n",
    ),
    "wrapped anew in main, error too": (
        "import io, sys\ndef main():\n"
        "    sys.stderr = io.TextIOWrapper(sys.stderr.buffer, encoding='utf-8')\n    print('αβγ', file=sys.stderr)\n",
        "αβγ\n",
    ),
    "taken apart": (
        "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')\n"
        "def main(): print('αβγ')\n",
        "αβγ\n",
    ),
    "codecs": (
        "import codecs, sys\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.buffer)\ndef main(): print('αβγ')\n",
        "αβγ\n",
    ),
    "reconfigured": (
        "import sys\nsys.stdout.reconfigure(encoding='latin-1', errors='replace', line_buffering=False)\n"
        "def main(): print('aα')\n",
        "a?\n",
    ),
    "the first one": (
        "import io, sys\ndef main():\n    sys.stdout = io.StringIO()\n    print('unseen')\n"
        "    print('seen', file=sys.__stdout__)\n    print('too', file=sys.__stderr__)\n",
        "seen\ntoo\n",
    ),
    "redirected": (
        "import contextlib, io\ndef main():\n    with contextlib.redirect_stdout(io.StringIO()) as text:\n"
        "        print('here')\n    print('there:', text.getvalue(), end='')\n",
        "there: here\n",
    ),
    "a file of its own on the descriptor": (
        "import os\ndef main():\n    with os.fdopen(1, 'w', closefd=False) as file:\n        file.write('hello\\n')\n",
        "hello\n",
    ),
    "what it is": (
        "import sys\ndef main():\n    for stream in (sys.stdout, sys.stderr):\n"
        "        print(stream.name, stream.mode, stream.encoding, stream.fileno(), stream.isatty())\n",
        "<stdout> w utf-8 1 False\n<stderr> w utf-8 2 False\n",
    ),
    "faulthandler": (
        "import faulthandler, sys\ndef main():\n    faulthandler.enable()\n    print(faulthandler.is_enabled())\n",
        "True\n",
    ),
    "input": (
        "def main():\n    try:\n        input('? ')\n    except EOFError:\n        print('nobody')\n",
        "? nobody\n",
    ),
    "an input of its own": (
        "import io, sys\nsys.stdin = io.StringIO('yes\\n')\ndef main(): print(input())\n",
        "yes\n",
    ),
}


@pytest.fixture(scope="module")
def main():
    """One main process for all of these: none of the scripts can harm another."""
    process = MainProcess()
    yield process
    process.end()


def run(main, path, output):
    uid = main.ready(path, output=output)
    main.run(uid)
    return main.wait_for_end(uid)


@pytest.mark.parametrize("name", STREAMS)
def test_what_a_script_does_to_its_streams(main, script, tmp_path, name):
    source, expected = STREAMS[name]
    end = run(main, script(source), tmp_path / "1.log")
    assert (end.new_state.name, end.reason) == ("COMPLETE", "completed")
    assert (tmp_path / "1.log").read_text() == expected


def test_closing_standard_output_is_what_ends_a_script_that_prints_afterwards_and_its_log_goes_on(
    main, script, tmp_path
):
    path = script("""
        import logging, sys
        def main():
            sys.stdout.close()
            logging.error("lost, as there is nothing to write it to")
            print("never")
    """)
    end = run(main, path, tmp_path / "1.log")
    assert (end.new_state.name, end.reason) == ("FAILED", "ValueError: I/O operation on closed file.")
    assert 'print("never")' in (tmp_path / "1.log").read_text()


def test_a_script_that_configures_its_log_has_what_it_asked_for(main, script, tmp_path):
    path = script(f"""
        import logging
        logging.basicConfig(filename={str(tmp_path / "scan.log")!r}, level=logging.DEBUG)
        def main():
            logging.debug("x")
            logging.info("y")
    """)
    assert run(main, path, tmp_path / "1.log").reason == "completed"
    assert (tmp_path / "scan.log").read_text() == "DEBUG:root:x\nINFO:root:y\n"
    assert not (tmp_path / "1.log").exists()


def test_a_script_that_configures_none_has_the_skas(main, script, tmp_path):
    path = script("""
        import logging, os
        def main():
            logging.debug("not shown")
            logging.info("here")
            logging.getLogger("scan").warning("there")
            pid = os.fork()
            if pid == 0:
                logging.info("in a child")
                os._exit(0)
            os.waitpid(pid, 0)
    """)
    assert run(main, path, tmp_path / "1.log").reason == "completed"
    lines = [SKA_LINE.fullmatch(line).groups() for line in (tmp_path / "1.log").read_text().splitlines()]
    assert lines == [("INFO", "here"), ("WARNING", "there"), ("INFO", "in a child")]


# What is printed without an end of the line, and is seen while the script goes on.
UNFINISHED = {
    "print": ("print('.', end='')", "."),
    "written": ("sys.stdout.write('.')", "."),
    "bytes": ("sys.stdout.buffer.write(b'.')", "."),
    "error": ("sys.stderr.write('?')", "?"),
    "both": ("print('.', end=''); time.sleep(0.01); print('?', end='', file=sys.stderr)", ".?"),
    "behind a line": ("print('one'); print('two', end='')", "one\ntwo"),
    "a bar": ("print('\\r 10%', end=''); print('\\r 20%', end='')", "\r 10%\r 20%"),
    "by a thread": ("threading.Thread(target=print, args=('.',), kwargs={'end': ''}).start()", "."),
    "one after the other": ("print('a', end=''); wait_for('a'); print('b', end=''); wait_for('ab')", "ab"),
    "behind a fork": ("os.fork() or os._exit(0); os.wait(); print('.', end='')", "."),
    "reconfigured": ("sys.stdout.reconfigure(line_buffering=False); print('a line')", "a line\n"),
}
GOING_ON = """
    import os, sys, threading, time
    def wait_for(text):
        while not (os.path.exists(log) and open(log).read() == text):
            time.sleep(0.01)
    def main():
        {}
        while True:
            time.sleep(600)
    log = {!r}
"""


@pytest.mark.parametrize("name", UNFINISHED)
def test_what_has_no_end_of_a_line_is_seen_at_once(main, script, tmp_path, name):
    does, expected = UNFINISHED[name]
    log = tmp_path / "1.log"
    uid = main.running(script(GOING_ON.format(does, str(log))), output=log)
    wait_until(lambda: log.exists() and log.read_bytes().decode() == expected, 20, f"{expected!r} in the file")
    main.stop(uid)
    assert main.wait_for_end(uid).new_state.name == "STOPPED"
    assert log.read_bytes().decode() == expected


@pytest.mark.parametrize("at", ["", "def init():\n    "])
def test_it_is_seen_while_a_script_is_being_prepared(main, script, tmp_path, at):
    log = tmp_path / "1.log"
    path = script(f"import time\ndef main(): pass\n{at}print('loading ', end=''); time.sleep(600)\n")
    uid = main.create(path, output=log)
    wait_until(lambda: log.exists() and log.read_text() == "loading ", 20, "it is in the file")
    main.stop(uid)
    main.wait_for_end(uid)


def test_what_was_printed_is_in_the_file_when_a_script_is_ready(main, script, tmp_path):
    log = tmp_path / "1.log"
    path = script("""
        import sys
        from ska_oet_device.procedure.worker import _streams
        _streams._TAKEN_WITHIN = 20.0  # a busy machine may hold up the recorder for longer than it is waited for
        print("loaded", end="")
        def init(): print(", begun", end="", file=sys.stderr)
        def step(number): print(f", {number}", end="")
        def main(): pass
    """)
    expected = "loaded, begun"
    uid = main.create(path, output=log)
    for number in range(20):
        wait_until(lambda number=number: main.states(uid).count("READY") > number)
        assert log.read_text() == expected
        main.run(uid, "step", number)
        expected += f", {number}"
    main.stop(uid)
    main.wait_for_end(uid)


def test_a_script_is_ready_whatever_a_thread_of_its_prints_or_closes(main, script, tmp_path):
    path = script("""
        import os, sys, threading
        def flood():
            while True: print("x" * 1000)
        def init(): threading.Thread(target=flood, daemon=True).start()
        def gone():
            os.close(1)
            sys.stderr.close()
            print("nobody hears it", end="")
        def main(): pass
    """)
    uid = main.ready(path, output=tmp_path / "1.log", max_output=100_000)
    main.run(uid, "gone")
    wait_until(lambda: main.states(uid).count("READY") == 2)
    main.run(uid)
    assert main.wait_for_end(uid).reason == "completed"


def test_nothing_is_lost_nor_doubled_nor_does_a_fork_hang_while_unfinished_lines_are_written(main, script, tmp_path):
    path = script("""
        import os, signal, threading, time
        def child(number):
            print(f"<{number}>", end="", flush=True)
            os._exit(0)
        def main():
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
            until, count = time.monotonic() + 1.5, 0
            while time.monotonic() < until:
                print(".", end="")
                count += 1
                if count % 500 == 0:
                    print("", end="", flush=True)  # else the child has a copy of it, as in plain Python
                    if os.fork() == 0:
                        child(count)
                    os.wait()
            print(f"\\n{count}")
    """)
    assert run(main, path, tmp_path / "1.log").reason == "completed"
    lines = (tmp_path / "1.log").read_text().splitlines()
    assert len(lines) == 2, [(len(line), line[:500], line[-500:]) for line in lines]
    dots, count = lines
    assert dots.count(".") == int(count)
    assert dots.count("<") == int(count) // 500


def test_a_file_that_a_script_has_put_in_the_place_of_its_output_is_written_as_in_plain_python(main, script, tmp_path):
    other = tmp_path / "other.txt"
    path = script(f"""
        import os, time
        def main():
            os.dup2(os.open({str(other)!r}, os.O_WRONLY | os.O_CREAT), 1)
            for part in "abc":
                print(part, end="")
                time.sleep(0.3)
            print("d")
            print("e", end="")
    """)
    assert run(main, path, tmp_path / "1.log").reason == "completed"
    assert other.read_text() == "abcd\ne"
