"""``python -m isrcore`` is the ``isr`` command."""

import sys

from isrcore.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
