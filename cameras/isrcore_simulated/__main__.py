"""``python -m isrcore_simulated FOLDER`` writes a night of raw files to practise on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from isrcore_simulated import CAMERA
from isrcore_simulated.night import summary, write_night


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the night and say what to do next. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m isrcore_simulated", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to write; made when it is not there")
    parser.add_argument("--seed", type=int, default=1, help="equal seeds give equal files (default: 1)")
    given = parser.parse_args(arguments)
    try:
        write_night(CAMERA, given.folder, given.seed)
    except OSError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    print(summary(given.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
