"""What a driver may lack while tasks run, and the cores that it has: no fault of a task."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_runs import TESTS

DRIVER = """
import os, shutil, signal, sys
from pathlib import Path
from toy_runs import ends
from dse.runner.events import Finished, Reported, Retried
from dse.runner.runner import Runner, Workers

def main():
    received = []
    with Runner("toy:behave", Workers(count=2)) as runner:
        runner.submit(0, ("check steadily", 0))
        for event in runner.events():
            received.append(event)
            if isinstance(event, Reported) and event.key == 0:
                {change}
                children = Path("/proc/thread-self/children").read_text()
                os.kill(int(children), signal.SIGKILL)  # another one must start
                for key in (1, 2):
                    runner.submit(key, ("check steadily", 0))
    assert not any(isinstance(event, Retried) for event in received), received
    print(*(type(end).__name__ for end in ends(received).values()))

main()
"""


@pytest.mark.parametrize(
    ("folder", "change"),
    [
        ("tmp", "[shutil.rmtree(path) for path in Path(sys.argv[1]).iterdir()]"),
        ("tmp", "shutil.rmtree(sys.argv[1])"),
        ("tmp" * 40, "pass"),  # no socket in it could have a name that is short enough
        ("none", "pass"),
        ("tmp", "os.chdir(sys.argv[1]); shutil.rmtree(sys.argv[1])"),
    ],
    ids=["cleaned", "removed", "long", "missing", "working in it"],
)
def test_no_folder_for_temporary_files_is_needed(tmp_path: Path, folder: str, change: str) -> None:
    place = tmp_path / folder
    if folder != "none":
        place.mkdir()
    (tmp_path / "driver.py").write_text(DRIVER.replace("{change}", change))
    done = subprocess.run(
        [sys.executable, "driver.py", str(place)],
        cwd=tmp_path,
        env={
            **os.environ,
            "TMPDIR": str(place),
            "PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent))),
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("Finished Finished Finished\n", "")
