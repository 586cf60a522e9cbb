"""``isr why``: how a product was made."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.tree import Tree

from isrcore.cli.faults import EXIT_STATUS, OK
from isrcore.cli.terminal import make_console
from isrcore.exposure import Exposure
from isrcore.fits import FitsError, read_exposure
from isrcore.origins import AS_IT_WAS, SHIPPED, Input, Located, Origins
from isrcore.registry import Registry

_ABOUT = """Show how products were made: from which raw file and calibrations, and what these were made from
in turn; by which steps of which plugins; and who set every value of the configuration that is no default.
Inputs are looked for where they were, and compared with what went in."""

_EXAMPLE = """example:
  isr why products/science1_sim0.fits

"""


def add_parser(subcommands: Any, registry: Registry) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "why",
        help="show how a product was made",
        description=_ABOUT,
        epilog=_EXAMPLE + EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("products", nargs="+", type=Path, metavar="PRODUCT", help="products or masters")
    add_folders(parser)
    parser.set_defaults(function=explain)


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Where else inputs may be."""
    parser.add_argument(
        "--inputs",
        nargs="+",
        type=Path,
        action="extend",
        default=[],
        metavar="FOLDER",
        help="folders to look through for inputs that are no longer where they were",
    )


def explain(arguments: argparse.Namespace) -> int:
    """Print a tree per product. Raises `FitsError` for files that are no products."""
    for path in arguments.products:
        make_console().print(tree_of(path, arguments.inputs))
    return OK


def tree_of(path: Path, folders: list[Path]) -> Tree:
    """The product, what went in, what was set, what was done."""
    origins, exposure = Origins.read(path), read_exposure(path)
    about = f"{exposure.camera or 'camera not known'}, detector {exposure.detector.name!r}"
    tree = Tree(f"{path}  ({about}; isrcore {origins.version or 'of unknown version'})")
    _add_inputs(tree, origins, folders, {path.absolute()})
    _add(tree, "set by somebody", (f"{name} = {text}" for name, text in origins.settings.items()))
    _add(tree, "steps", _steps(exposure))
    return tree


def _add_inputs(tree: Tree, origins: Origins, folders: list[Path], seen: set[Path]) -> None:
    """A branch per input, with the inputs of masters below; files that made each other end somewhere."""
    for kind, group in groupby(origins.inputs, key=lambda one: one.kind):
        inputs = list(group)
        here = tree if len(inputs) == 1 else tree.add(f"{len(inputs)} {kind} files")
        for one in inputs:
            located = one.find(origins.path, folders)
            branch, place = here.add(_line(one, located, kind if len(inputs) == 1 else "")), located.path
            if one.kind != "raw" and place is not None and place.absolute() not in seen:
                _add_master(branch, place, folders, seen | {place.absolute()})
    if origins.notes and tree.children and len(origins.inputs) > 1:
        tree.add(", ".join(f"{name} {text}" for name, text in origins.notes.items()))


def _add_master(branch: Tree, path: Path, folders: list[Path], seen: set[Path]) -> None:
    """What a calibration was made from, if it is a product that tells."""
    try:
        origins = Origins.read(path)
    except (FitsError, OSError):
        return
    _add_inputs(branch, origins, folders, seen)
    _add(branch, "set by somebody", (f"{name} = {text}" for name, text in origins.settings.items()))


def _line(one: Input, located: Located, kind: str) -> str:
    """One input: what, where, which, and whether it still is what it was."""
    state, place = located.state, located.path
    moved = f", now {place}" if place is not None and str(place) != one.path else ""
    digest = f"  [{one.digest[:12]}]" if one.digest else ""
    told = "" if state == SHIPPED else f"  {state}{moved if state == AS_IT_WAS else ''}"
    return (f"{kind}: " if kind else "") + one.path + digest + told


def _steps(exposure: Exposure) -> Iterator[str]:
    """The steps of the run, those of one plugin together."""
    for (plugin, version), entries in groupby(exposure.history, key=lambda one: (one.plugin, one.version)):
        yield f"{plugin} {version}: " + ", ".join(entry.step for entry in entries)


def _add(tree: Tree, title: str, lines: Iterator[str]) -> None:
    """A branch with lines, if there are any."""
    found = list(lines)
    branch = tree.add(title) if found else tree
    for line in found:
        branch.add(line)
