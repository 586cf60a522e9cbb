"""The whole plugin surface: ten hooks.

A plugin is a module with functions of these names marked ``@isrcore.hookimpl`` and one line under
``[project.entry-points.isrcore]``. A function may leave out arguments it does not need.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from isrcore.camera import Camera
    from isrcore.exposure import Exposure
    from isrcore.raw import RawSource
    from isrcore.registry import Registry
    from isrcore.step import Step

PROJECT = "isrcore"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def isr_cameras() -> list[Camera]:  # type: ignore[empty-body]
    """Cameras this plugin describes. Two cameras of one name are an error naming both plugins."""


@hookspec
def isr_read_raw(source: RawSource, detectors: list[str] | None) -> Iterator[Exposure] | None:
    """Raw exposures of a file, one per detector; None when the file is not ours.

    Also asked to plan, with a source whose pixels are zeros: say what a file is by its headers.
    ``detectors`` are names or ids, None for all in the file. Two plugins claiming one file are an error
    naming both. A reader also states facts that the file already has.
    """


@hookspec
def isr_raw_writer(camera: Camera) -> Callable[[Path, Iterable[Exposure]], None] | None:
    """A function that writes raw exposures into a file as this camera does; None when it is not our camera.

    It is called with a path and the exposures, one per detector, to be taken one after the other: a mosaic
    does not fit into memory. The file must be there complete or not at all, and `isr_read_raw` must give back
    pixels, visit and levels; `write_sections` does most of that. Two plugins that write for one camera are an
    error naming both. Cameras without a writer get an extension per detector and INSTRUME = their name.
    """


@hookspec
def isr_read_calibration(source: RawSource, kind: str, detector: str) -> Any | None:
    """A calibration from a file in a format of the camera's own; None when the file is not ours.

    ``kind`` is what a step reads ("defects", "bias"), ``detector`` a name. Products of isrcore and tables of
    defects are read without asking. Two plugins claiming one file are an error naming both.
    """


@hookspec
def isr_steps() -> list[type[Step]]:  # type: ignore[empty-body]
    """Step classes, each implementing one `StepSpec` (a standard one or its own)."""


@hookspec
def applyOverrides(config: Any, camera: Camera) -> None:
    """Set config values that suit a camera. Every value remembers that this plugin set it."""


@hookspec
def isr_curated_calibrations(camera: Camera) -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Calibrations that ship with a camera, by kind and then detector name: defects and the like.

    A value with a method ``choose_for`` (`CalibrationChoice`) is asked for each exposure's own.
    """


@hookspec
def isr_open_repository(uri: str, registry: Registry) -> Any | None:
    """A data repository with ``get``, ``put``, ``datasetExists`` and ``dataId``; None when not ours.

    One that commands can take frames and calibrations from has the methods of `DataRepository`. ``registry``
    holds the plugins that are at work, among them the reader of its camera's files.
    """


@hookspec
def isr_commands(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add subcommands to ``isr``: a parser with ``set_defaults(function=...)`` returning an exit status.

    The function is called with the parsed arguments, which also hold ``registry`` (the `Registry`),
    ``messages`` (a rich console on stderr) and ``traceback`` (whether errors should show one).
    """


@hookspec
def isr_after_step(step: str, exposure: Exposure) -> None:
    """Look at an exposure after a step: its arrays are read-only, so a look cannot change a result."""
