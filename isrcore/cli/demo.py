"""``isr demo``: from nothing to checked products in less than a minute."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from isrcore.cli.faults import FAILED, OK, CommandError
from isrcore.cli.findings import Finding, examine
from isrcore.cli.terminal import make_console, make_table
from isrcore.mosaics import draw_focal_plane
from isrcore.pictures import PictureStyle
from isrcore.registry import Registry
from isrcore.task import TaskError

_ABOUT = """Simulate a night of a camera, make its master calibrations, correct its science frame, and compare
the products with the truth that went into the simulation. Every command is shown as it is run, so this is
also a tour of what to type for frames of your own. Nothing is fetched from anywhere."""

_CAMERA, _DETECTORS = "MegaCam", "21,22"

_NEXT = """what next
  look at the pictures in {folder}, or open the products there with any FITS reader
  for frames of your own, with names of your own in place of these:
    isr cameras                                   which cameras are known
    isr calibrate bias bias*.fits -o masters      then dark and flat, as above
    isr plan science.fits --bias masters ...      what would be done, and why
    isr run science*.fits --bias masters --flat masters -o products --jobs 2
    isr show products/*.fits
  'isr COMMAND --help' explains a command"""


def add_parser(subcommands: Any, registry: Registry) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "demo",
        help="simulate a night, correct it and check the result",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("isr_demo"), metavar="FOLDER",
        help="a new folder for all files, about 1.5 GB (default: isr_demo)",
    )  # fmt: skip
    parser.add_argument(
        "--camera", default=_CAMERA, help=f"camera to simulate, or a camera file (default: {_CAMERA})"
    )
    parser.add_argument("--detectors", default=_DETECTORS, metavar="A,B", help=f"(default: {_DETECTORS})")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another night for another number")
    parser.set_defaults(function=demo)


def demo(arguments: argparse.Namespace) -> int:
    """Run the tour. The status says whether the products agree with the truth."""
    folder: Path = arguments.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandError(
            "cannot start", [f"{str(folder)!r} is there already; name a new folder, or remove it"]
        )
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    tour = Tour(folder, make_console())
    instrument = [
        "--camera", arguments.camera, "--detectors", arguments.detectors, "--seed", str(arguments.seed),
    ]  # fmt: skip
    tour.take_calibrations(instrument)
    tour.observe(instrument)
    tour.make_masters()
    tour.correct()
    findings = tour.check()
    tour.console.print(f"done in {time.perf_counter() - started:.0f} s\n\n{_NEXT.format(folder=folder)}")
    return OK if all(finding.is_good for finding in findings) else FAILED


class Tour:
    """The acts of the demonstration, on files in one folder."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder, self.console = folder, console

    def take_calibrations(self, instrument: list[str]) -> None:
        """Raw biases, darks and flats."""
        take, raw = ["simulate", *instrument], self._path("raw")
        self._say("1. raw calibration frames, simulated")
        self._do(
            [*take, "--type", "flat", "--number", "4", "--first", "21", raw],
            [*take, "--type", "bias", "--number", "4", "--first", "1", raw],
            [*take, "--type", "dark", "--number", "3", "--first", "11", raw],
        )

    def observe(self, instrument: list[str]) -> None:
        """A raw frame of the sky, and what it is made from; meanwhile a master bias."""
        take, raw, truth = ["simulate", *instrument], self._path("raw"), self._path("truth")
        self._say("2. a raw frame of the sky; meanwhile, the master bias")
        self._do(
            [*take, "--type", "science", "--first", "31", "--truth", truth, raw],
            ["calibrate", "bias", self._raw("b"), "-o", self._path("masters")],
        )

    def make_masters(self) -> None:
        """Master dark and flat, which need the bias; flats are too short for a dark to matter."""
        masters = self._path("masters")
        self._say("3. master dark and flat")
        given = ["--bias", masters, "-o", masters]
        self._do(["calibrate", "flat", self._raw("f"), *given], ["calibrate", "dark", self._raw("d"), *given])

    def correct(self) -> None:
        """The science frame, and pictures of before and after."""
        self._say("4. the science frame, corrected")
        masters = [word for kind in ("bias", "dark", "flat") for word in (f"--{kind}", self._path("masters"))]
        defects = ["--defects", self._path("truth/defects")]
        self._do(["run", self._raw("o"), *masters, *defects, "-o", self._path("products"), "--jobs", "2"])
        self._say("5. pictures of before and after")
        self._do(
            ["show", self._raw("o"), "-o", self._path("before.png")],
            ["show", self._path("products/*.fits"), "-o", self._path("after.png")],
        )

    def check(self) -> list[Finding]:
        """Compare the products with the truth, and draw how far they are from it."""
        self._say("6. the products against the truth")
        findings = [self._examine(path) for path in sorted((self.folder / "products").glob("*.fits"))]
        self.console.print(_table(findings))
        for fault in (f"{one.detector}: {fault}" for one in findings for fault in one.faults()):
            self.console.print(fault, style="bold red")
        self._draw(findings)
        return findings

    def _examine(self, product: Path) -> Finding:
        """What one product is like."""
        detector = product.stem.rpartition("_")[2]
        flats = (self.folder / place / f"flat_{detector}.fits" for place in ("masters", "truth/masters"))
        return examine(product, self.folder / "truth" / product.name, *flats)

    def _draw(self, findings: list[Finding]) -> None:
        """The pulls over the focal plane: noise without any pattern, where all went well."""
        path, detectors = self.folder / "pulls.png", [finding.pulls.detector for finding in findings]
        style = PictureStyle(limits=(-1.0, 1.0), stretch="linear", planes=())
        exposures = (finding.pulls for finding in findings)
        draw_focal_plane(detectors, exposures, style, "(product - truth) / noise").write(path)
        self.console.print(
            f"wrote {path}: (product - truth) / noise, which should show no pattern", soft_wrap=True
        )

    def _path(self, name: str) -> str:
        return str(self.folder / name)

    def _raw(self, letter: str) -> str:
        """Raw files of a kind, by the letter their names end in: a pattern, which every command fills in."""
        return self._path(f"raw/*{letter}.fits.fz")

    def _say(self, heading: str) -> None:
        self.console.print(f"\n{heading}", style="bold")

    def _do(self, *commands: list[str]) -> None:
        """Run commands that need nothing of each other, two at a time, and show what they say."""
        with ThreadPoolExecutor(2) as pool:
            for words, told in zip(commands, pool.map(_run, commands), strict=True):
                self.console.print(f"$ isr {shlex.join(words)}", soft_wrap=True, style="cyan")
                self.console.print(told.rstrip(), soft_wrap=True)


def _run(words: list[str]) -> str:
    """Run a command in a process of its own; what it prints. Raises `TaskError` with its complaint."""
    done = subprocess.run(
        [sys.executable, "-m", "isrcore", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise TaskError(f"'isr {shlex.join(words)}' ended with status {done.returncode}\n{done.stderr}")
    return done.stdout


def _table(findings: list[Finding]) -> Table:
    """A row for every detector."""
    columns = ("detector", "sky", "residual", "pulls", "unflagged", "bad and saturated flagged", "verdict")
    table = make_table(columns, numbers=columns[1:6])
    for one in findings:
        residuals = ", ".join(f"{value:+.3f}" for value in one.residuals.values())
        verdict = "good" if one.is_good else "NOT GOOD"
        table.add_row(
            one.detector, f"{one.sky:.1f} adu", f"{residuals} adu", f"{one.pull_width:.3f}",
            f"{one.clean:.2%}", f"{one.found:.2%}", verdict,
        )  # fmt: skip
    return table
