"""``isr init``, ``ingest``, ``list``, ``status``, ``rebuild``, ``certify`` and ``import-registry``."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from astropy.time import Time, TimeDelta

from isrcore import RepositoryError, expand_paths, filter_names, hookimpl, split_words
from isrcore_repository import layout
from isrcore_repository.imported import import_registry
from isrcore_repository.ingest import Report, ingest
from isrcore_repository.listing import list_content
from isrcore_repository.making import make_repository
from isrcore_repository.rebuild import rebuild
from isrcore_repository.repository import EmbeddedRepository
from isrcore_repository.status import show_status
from isrcore_repository.terminal import counting

OK, FAILED = 0, 1

_INIT = """Make an empty repository for the raw frames, calibrations and products of one camera: a folder of
FITS files and one registry. A camera file is copied into it; from then on the copy counts."""

_INGEST = """Put raw files into a repository. Only headers are read. Files stay where they are and are linked,
or copied with --copy. A file that is in the repository already changes nothing; one that differs from the
file of the same exposure and detector is refused, and all such files are told of at the end."""

_LIST = """Show raw frames and calibrations of a repository."""

_REBUILD = """Make the registry anew from the files: raw files by their headers, calibrations by their
certificates, products and records by their names. Unfinished files of programs that were killed more than an
hour ago are removed; otherwise nothing but the registry is changed."""

_CERTIFY = """Let a master, or a table such as defects, be used for exposures from one moment to another. A
file from elsewhere is copied into the repository first. Without --from or --to there is no limit."""

_IMPORT = """Take over the calibration registry of the original program, with its ranges of validity in UTC.
Files that it names are linked if they lie beside it; others can be put into REPO/imported later, and until
then are candidates that are refused because their file is missing."""

_STATUS = """Show what became of every science frame: corrected, failed, skipped in the last run because it
was done before, or not done yet, and why."""


@hookimpl
def isr_commands(subcommands: Any) -> None:
    """Add the commands."""
    _add_init(subcommands)
    _add_ingest(subcommands)
    parser = _add(subcommands, "list", "show what is in a repository", _LIST, show_list)
    kinds = "kinds of frames and calibrations: science, bias, dark, flat and so on"
    parser.add_argument("--type", type=split_words, metavar="A,B", help=kinds)
    for key, text in (("filter", "filters, by any of their names"), ("night", "dates of evenings")):
        parser.add_argument(f"--{key}", type=split_words, metavar="A,B", help=text)
    parser.add_argument("--detector", type=split_words, metavar="A,B", help="names of detectors")
    _add(subcommands, "status", "show what became of every science frame", _STATUS, status)
    _add(subcommands, "rebuild", "make the registry anew from the files", _REBUILD, rebuild_registry)
    _add_certify(subcommands)
    parser = _add(subcommands, "import-registry", "take over an older registry", _IMPORT, import_older)
    parser.add_argument("file", type=Path, metavar="FILE", help="calibRegistry.sqlite3 of the original")


def _add(subcommands: Any, name: str, short: str, about: str, function: Any) -> argparse.ArgumentParser:
    """A command on a repository."""
    parser: argparse.ArgumentParser = subcommands.add_parser(name, help=short, description=about)
    parser.add_argument("repository", type=Path, metavar="REPO", help="folder of the repository")
    parser.set_defaults(function=function)
    return parser


def _add_init(subcommands: Any) -> None:
    parser = _add(subcommands, "init", "make an empty repository", _INIT, init)
    parser.add_argument(
        "--camera",
        required=True,
        metavar="NAME",
        help="camera, see 'isr cameras', or a camera file, CAMERA.toml",
    )


def _add_ingest(subcommands: Any) -> None:
    parser = _add(subcommands, "ingest", "put raw files into a repository", _INGEST, ingest_files)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="raw FITS files, quoted patterns of them, or folders"
    )
    parser.add_argument("--copy", action="store_true", help="copy files instead of linking them")


def _add_certify(subcommands: Any) -> None:
    parser = _add(subcommands, "certify", "say when a calibration may be used", _CERTIFY, certify)
    parser.add_argument("master", type=Path, metavar="MASTER", help="file with a calibration")
    for name, text in (("from", "first"), ("to", "last")):
        parser.add_argument(
            f"--{name}",
            dest=text,
            metavar="DATE",
            help=f"{text} moment, as in 2022-01-26 (its {'start' if text == 'first' else 'end'}) or "
            "2022-01-26T12:00:00, UTC",
        )
    for name, text in (("kind", "bias, defects and so on"), ("detector", "name"), ("filter", "name")):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"{text}, of a file that does not say so")


def _open(arguments: argparse.Namespace) -> EmbeddedRepository:
    repository = EmbeddedRepository.open(arguments.repository, arguments.registry)
    arguments.registry = repository.plugins
    return repository


def init(arguments: argparse.Namespace) -> int:
    """Make a repository."""
    camera = arguments.registry.camera(arguments.camera).name
    is_new = make_repository(arguments.repository, camera, arguments.registry)
    print(f"{arguments.repository} {'is a new' if is_new else 'was already a'} repository of camera {camera}")
    return OK


def ingest_files(arguments: argparse.Namespace) -> int:
    """Ingest files and tell what became of them."""
    repository = _open(arguments)
    files = [file for path in expand_paths(arguments.files) for file in _inside(path)]
    with counting(arguments.messages, "raw files", len(files)) as tell:
        report = ingest(repository, files, copies=arguments.copy, tell=tell)
    _tell(arguments, report)
    return OK if report.is_complete else FAILED


def _inside(path: Path) -> list[Path]:
    """The FITS files of a folder, by name; a file itself."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file() and layout.ending_of(file))


def _tell(arguments: argparse.Namespace, report: Report) -> None:
    """What was ingested, and in one report what was not."""
    print(f"{len(report.added)} files ingested, {len(report.known)} known before")
    _complain(arguments, "files differ from what the repository has of their exposure", report.conflicts)
    _complain(arguments, "files cannot be ingested", report.failed)


def _complain(arguments: argparse.Namespace, what: str, problems: Collection[str]) -> None:
    """Problems as a list, on stderr."""
    if problems:
        lines = ("  - " + problem.replace("\n", "\n    ") for problem in problems)
        arguments.messages.print("\n".join([f"{len(problems)} {what}", *lines]), soft_wrap=True)


def show_list(arguments: argparse.Namespace) -> int:
    """List what is in the repository."""
    repository = _open(arguments)
    wanted = {key: getattr(arguments, key) for key in ("type", "filter", "night", "detector")}
    if arguments.filter:
        camera = arguments.registry.camera(repository.camera)
        wanted["filter"] = sorted(
            {name for given in arguments.filter for name in filter_names(given, camera)}
        )
    list_content(repository, {key: values for key, values in wanted.items() if values})
    return OK


def status(arguments: argparse.Namespace) -> int:
    """Show what became of science frames."""
    show_status(_open(arguments))
    return OK


def rebuild_registry(arguments: argparse.Namespace) -> int:
    """Make the registry anew."""
    repository = _open(arguments)
    with counting(arguments.messages, "files", None) as tell:
        found = rebuild(repository, tell)
    print(f"{len(found.rows)} rows")
    _complain(arguments, "files have no row", found.problems)
    return FAILED if found.problems else OK


def certify(arguments: argparse.Namespace) -> int:
    """Certify a calibration."""
    repository, path = _open(arguments), arguments.master
    first, last = _moment(arguments.first, 0), _moment(arguments.last, 1)
    about = {key: getattr(arguments, key) for key in ("kind", "detector", "filter")}
    told = {key: value for key, value in about.items() if value}
    row = repository.certify_file(path, first, last, **told)
    print(f"{row.path}: {row.kind} of {row.detector}, valid {_range(row.first, row.last)}")
    return OK


def import_older(arguments: argparse.Namespace) -> int:
    """Import a registry."""
    repository = _open(arguments)
    camera = arguments.registry.camera(repository.camera)
    named, here = import_registry(repository.root, camera, arguments.file)
    print(f"{arguments.file}: {named} calibration files, {here} of them in the repository")
    return OK


def _moment(text: str | None, days: int) -> Time | None:
    """A moment; a date alone is its start, or with ``days`` 1 its end. Raises `RepositoryError`."""
    if text is None:
        return None
    try:
        moment = Time(text, format="isot", scale="utc")
    except ValueError as fault:
        raise RepositoryError(f"{text!r} is no date like 2022-01-26 or 2022-01-26T12:00:00") from fault
    return moment + TimeDelta(days, format="jd") if "T" not in text else moment


def _range(first: str | None, last: str | None) -> str:
    """A range of validity in words."""
    return f"from {(first or 'ever')[:19]} to {(last or 'ever')[:19]}"
