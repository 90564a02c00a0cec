"""Starts processes that it does not wait for, writes their ids to a file, and ends as it is told."""

import subprocess
from pathlib import Path

from _endings import end


def main(path, how):
    children = [subprocess.Popen(["sleep", "300"]) for _ in range(2)]
    Path(path).write_text(" ".join(str(child.pid) for child in children))
    end(how)
