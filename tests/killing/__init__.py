"""Killing a command at a moment that its own work sets: how fast a machine is does not matter.

Moments are counted in operations on files, as `sitecustomize` sees them in all processes of the command.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Writing an image takes milliseconds: from 0.1 ms to this any order of magnitude is as likely.
_LONGEST_PAUSE_S = 0.03
_DECADES = 2.5


def run_and_kill(words: Sequence[str], below: Path, moment: int, pause_s: float = 0.0) -> tuple[bool, str]:
    """Run a command that is killed at a file operation below a folder, and all its processes with it.

    Returns whether it was, and its operations, a character each; "w" is the opening of an image to be
    written. A command that ends before must end well.
    """
    count = below.with_name(f"{below.name}.operations")
    count.unlink(missing_ok=True)
    variables = {"AT": moment, "BELOW": below, "COUNT": count, "PAUSE_S": pause_s}
    here = os.environ | {f"ISRCORE_KILL_{name}": str(value) for name, value in variables.items()}
    places = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    ended = subprocess.run(
        [sys.executable, "-c", "import sys; from isrcore.cli.main import main; sys.exit(main())", *words],
        env=here | {"PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )
    assert ended.returncode in (0, -signal.SIGKILL)
    return ended.returncode != 0, count.read_text()


def list_operations(words: Sequence[str], below: Path) -> str:
    """Let a command do all it has to; its file operations."""
    killed, operations = run_and_kill(words, below, moment=-1)
    assert not killed
    return operations


def kill_at_random(words: Sequence[str], below: Path, operations: str, moments: random.Random) -> bool:
    """Kill a command that has about these operations before it; whether that ended it.

    Half of the moments are those at which an image has just been opened to be written.
    """
    # Two processes may take a few operations more or less, and the last ones are no sooner done than it ends.
    early = range(1, len(operations) * 9 // 10)
    writing = [moment for moment in early if operations[moment - 1] == "w"]
    moment = moments.choice(writing if writing and moments.random() < 0.5 else early)
    return run_and_kill(words, below, moment, _LONGEST_PAUSE_S * 10 ** -moments.uniform(0, _DECADES))[0]
