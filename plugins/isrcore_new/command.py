"""``isr new``: the subcommand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from isrcore import hookimpl
from isrcore_new.naming import Naming
from isrcore_new.package import write_package

_ABOUT = """Write a new package for a camera or a step into the folder isrcore-NAME, which must not be there:
an entry point, typed code, a geometry table for a camera, tests with the conformance kit, and a workflow that
runs them. It passes its own tests as it is written; put your own numbers in, and keep it so."""

_EXAMPLE = """example:
  isr new camera demo
  cd isrcore-demo && pip install -e '.[test]' && pytest

exit status:
  0  the package was written
  1  it could not be written, and nothing is left of it; the message says why
  2  wrong options
"""

# Between what to look at and why.
_GAP = "    "

_NEXT = {
    "camera": """wrote {folder}, a camera of one CCD with two amplifiers
  cd {folder} && pip install -e '.[test]' && pytest
next:
  {package}/{module}.toml    put in where your camera's pixels are
  {package}/__init__.py    say which files are your camera's: its INSTRUME, or what else tells them apart
  isr cameras {name}    see what isrcore makes of the table
  tests/test_{module}.py    give the tests a real frame: raw = "tests/frame.fits\"""",
    "step": """wrote {folder}, a step that subtracts a template
  cd {folder} && pip install -e '.[test]' && pytest
next:
  {package}/__init__.py    state your own contract, settings and operations
  isr explain step {name}    see what the contract says
  isr run raw.fits -c do{Class}=true --{option} template.fits    use it""",
}


@hookimpl
def isr_commands(subcommands: Any) -> None:
    """Add ``new``."""
    parser = subcommands.add_parser(
        "new",
        help="write a new package for a camera or a step",
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=("camera", "step"), help="what the package brings")
    parser.add_argument("name", metavar="NAME", help="its name, letters and digits: myCam, ledGlow")
    parser.set_defaults(function=write_new)


def write_new(arguments: argparse.Namespace) -> int:
    """Write the package and say what to do with it. Raises `NamingError` before anything is written."""
    naming = Naming(arguments.kind, arguments.name)
    naming.check(arguments.registry)
    write_package(naming, Path.cwd())
    print(_in_columns(_NEXT[naming.kind].format(**naming.values, folder=naming.folder)))
    return 0


def _in_columns(text: str) -> str:
    """The text with what follows a gap of four blanks below each other."""
    lines = [line.partition(_GAP) for line in text.splitlines()]
    width = max(len(first) for first, gap, _ in lines if gap)
    return "\n".join(f"{first:{width}}{gap}{rest}" if gap else first for first, gap, rest in lines)
