"""``isr replay``: make a product again, from what it says of its making, and compare."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from isrcore.cli.diff import maker_differences, pixel_differences
from isrcore.cli.faults import FAILED, OK, CommandError
from isrcore.cli.inputs import option_name
from isrcore.cli.terminal import make_console
from isrcore.cli.why import add_folders
from isrcore.fits import FitsError, read_config, read_exposure
from isrcore.origins import CHANGED, GONE, Input, Located, Origins
from isrcore.registry import Registry

_ABOUT = """Run a product again from the inputs and the configuration that it names, in a temporary folder,
and say whether the pixels are the same to the bit. The product itself stays as it is. Inputs that are gone
or changed stop this before anything is run. A master that was made together with those of other detectors is
made together with them again."""

_EXAMPLE = """example:
  isr replay products/science1_sim0.fits
  isr replay products/science1_sim0.fits --inputs /archive/night

exit status:
  0    pixels, flags and variances are the same to the bit
  1    they differ, or the run failed
  2    the product cannot be made again; the message says why
"""

_Found = tuple[Input, Located]


def add_parser(subcommands: Any, registry: Registry) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "replay",
        help="make a product again and compare",
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("product", type=Path, metavar="PRODUCT", help="a product or master")
    add_folders(parser)
    parser.set_defaults(function=replay)


def replay(arguments: argparse.Namespace) -> int:
    """Run again and compare. Raises `CommandError` when that is impossible."""
    product, console = arguments.product, make_console()
    try:
        origins, before = Origins.read(product), read_exposure(product)
    except (FitsError, OSError) as fault:
        raise CommandError("cannot replay", [str(fault)]) from fault
    found = _find_inputs(origins, arguments.inputs)
    with tempfile.TemporaryDirectory(prefix="isr-replay-") as folder:
        again = Path(folder) / f"{before.detector.name}.fits"
        status = _run(arguments, list(_words(origins, before.detector.name, found, Path(folder))))
        if status != OK or not again.exists():
            console.print(f"{product}: the run failed, with status {status}", soft_wrap=True)
            return FAILED
        after = read_exposure(again)
        pixels = list(pixel_differences(before, after))
        made = [*maker_differences(origins, before, Origins.read(again), after)]
    console.print(f"{product}: " + ("differs" if pixels else "bit-identical"), soft_wrap=True)
    for line in (*pixels, *made):
        console.print(f"  {line}".replace(" here,", " then,").replace(" there", " now"), soft_wrap=True)
    return FAILED if pixels else OK


def _find_inputs(origins: Origins, folders: list[Path]) -> list[_Found]:
    """The inputs and their files. Raises `CommandError` for what cannot give the same again."""
    count = sum(one.kind == "raw" for one in origins.inputs)
    if count != 1 and not (origins.command and count):
        problem = (
            f"{str(origins.path)!r} is made of {count} raw files and does not say by which command; run it "
            "with the inputs that 'isr why' shows, and compare with 'isr diff'"
        )
        raise CommandError("cannot replay", [problem])
    found = [(one, one.find(origins.path, folders)) for one in origins.inputs]
    problems = []
    for one, located in found:
        if located.state == GONE:
            problems.append(f"{one.kind} {one.path!r} is gone; say with --inputs FOLDER where to look for it")
        if located.state == CHANGED:
            problems.append(
                f"{one.kind} {one.path!r} is not what went in, which had digest {one.digest}; look for it "
                "elsewhere with --inputs FOLDER"
            )
    if problems:
        raise CommandError("cannot replay", problems)
    return found


def _words(origins: Origins, detector: str, found: list[_Found], folder: Path) -> Iterator[str]:
    """The command line that makes the product again, named by its detector, in a folder."""
    config = folder / "config.toml"
    config.write_text(read_config(origins.path), encoding="utf-8")
    command = origins.command or ("run", "--detectors", detector)
    yield from command
    for one, located in found:
        option = f"--{option_name(one.kind)}"
        if one.kind == "raw":
            yield str(located.path)
        elif not one.is_shipped and option not in command:
            yield from (option, str(located.path))
    # A master may come with those of other detectors.
    name = "{detector}.fits" if origins.command else f"{detector}.fits"
    yield from ("-C", str(config), "-o", str(folder / name))


def _run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Run a command of ours; what it tells is shown when it fails."""
    # The command line knows its commands, of which this is one.
    from isrcore.cli.main import main

    told = StringIO()
    with redirect_stdout(StringIO()), redirect_stderr(told):
        status = main(words, arguments.registry)
    if status != OK:
        arguments.messages.print(told.getvalue(), soft_wrap=True)
    return status
