"""What a terminal would show: of progress bars the last state, and nothing that only a terminal understands."""

from __future__ import annotations

import io
import random
import time

import pytest

from ska_oet_device.procedure.ui._terminal import as_shown

SHOWN = {
    "plain": ("one\n  two \nthree", "one\n  two \nthree"),
    "ends with a line": ("one\n", "one\n"),
    "a bar": ("\r 0%|  |\r50%|# |\r100%|##|\ndone\n", "100%|##|\ndone\n"),
    "a shorter one": ("\rlonger text\rshort", "shortr text"),
    "line ends of Windows": ("one\r\ntwo\r\n", "one\ntwo\n"),
    "backspaces": ("|\b/\b-\b\\\bdone", "done"),
    "backspaces at the beginning": ("\b\b\bone", "one"),
    "colours": ("\x1b[1;31mred\x1b[0m and \x1b[38;5;12mblue\x1b[m", "red and blue"),
    "erased": ("\rworking\x1b[2K\rdone", "done"),
    "erased to the right": ("\rworking hard\r\x1b[7C\x1b[K!", "working!"),
    "nested bars": ("\r a 0%\n\r b 0%\x1b[A\r a 1%\n\r b 9%\x1b[A\r a 2%\n", " a 2%\n b 9%"),
    "a live display": ("one\ntwo\n\x1b[2A\x1b[2K1\n\x1b[2K2\n", "1\n2\n"),
    "column": ("abc\x1b[1Gx\x1b[3Gz", "xbz"),
    "cursor hidden, and shown": ("\x1b[?25lone\x1b[?25h", "one"),
    "a title, a link": ("\x1b]0;title\x07one \x1b]8;;http://a\x1b\\two\x1b]8;;\x1b\\", "one two"),
    "cut in a sequence": ("one\x1b[3", "one"),
    "cut in a title": ("one\x1b]0;tit", "one"),
    "bells and zeros": ("o\x07n\x00e", "one"),
    "tabs stay": ("a\tb\x1b[0m", "a\tb"),
    "up beyond the beginning": ("one\x1b[9Atwo", "onetwo"),
    "other characters": (
        "\r\u2588\u2588 50%\r\u2588\u2588\u2588 99% \u00e9\U0001f600",
        "\u2588\u2588\u2588 99% \u00e9\U0001f600",
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown(name):
    text, expected = SHOWN[name]
    assert as_shown(text) == expected


def test_what_a_library_writes_is_shown_as_it_ends():
    tqdm = pytest.importorskip("tqdm")
    stream = io.StringIO()
    for _ in tqdm.tqdm(range(3), file=stream, mininterval=0, ascii=True):
        print("x", end="")
    assert as_shown(stream.getvalue()).count("%|") == 1


PIECES = [
    *("a", "word", " ", "\n", "\r", "\b", "\t", "\x07", "\x00", "\x7f", "\x9b", ";", "[", "\u2588"),
    *(
        "\x1b",
        "\x1b[",
        "\x1b[K",
        "\x1b[1K",
        "\x1b[2K",
        "\x1b[J",
        "\x1b[2J",
        "\x1b[A",
        "\x1b[99999999999A",
        "\x1b[9999B",
    ),
    *("\x1b[C", "\x1b[9999C", "\x1b[D", "\x1b[3G", "\x1b[;m", "\x1b[?25l", "\x1b]0;", "\x1b\\", "\x1b[E", "\x1b[F"),
    *("\x1b(B", "\x1b[\u0661A"),
]


@pytest.mark.parametrize("seed", range(20))
def test_any_text_is_shown_in_bounded_time_and_size(seed):
    chance = random.Random(seed)
    for _ in range(50):
        text = "".join(chance.choice(PIECES) for _ in range(chance.randrange(200)))
        shown = as_shown(text)
        assert not set(shown) & {"\x1b", "\r", "\b", "\x07", "\x00", "\x7f"}
        assert as_shown(shown) == shown


@pytest.mark.parametrize(
    "piece",
    [
        "\x1b[1000B",
        "\x1b[9999Cx\n",
        "\x1b[",
        "\x1b]",
        "\x1b[1000A\x1b[1000B",
        "\r" + "x" * 100,
        "\x1b[1;",
        "\b",
        "x\x1b[2J",
    ],
)
def test_no_text_takes_much(piece):
    text = piece * (8192 // len(piece))
    started = time.process_time()
    shown = as_shown(text)
    assert time.process_time() - started < 1.0
    assert len(shown) <= 256 * 1024
