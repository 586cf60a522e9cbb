"""A camera as the text of a camera table: what `Camera.from_toml` reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from isrcore.config_toml import format_key, format_value
from isrcore.geometry import Box

if TYPE_CHECKING:
    from isrcore.camera import Camera, Detector

# Values by key; amplifiers are tables of their own, by name.
Table = Mapping[str, Any]


def format_camera(camera: Camera) -> str:
    """The table of a camera: what all detectors share once, in ``[detector]``; defaults are left out."""
    detectors = [_detector_table(detector) for detector in camera.detectors]
    shared = _common(detectors) if len(detectors) > 1 else {}
    own = [_without(table, shared) for table in detectors]
    lines = [*_values(_table(camera, "detectors", "filters"))]
    lines += [] if detectors else ["detectors = []"]
    lines += [*_block("[detector]", "detector", shared)] if shared else []
    for table in own:
        lines += _block("[[detectors]]", "detectors", table)
    for one in camera.filters:
        lines += ["", "[[filters]]", *_values(_table(one))]
    return "\n".join(lines) + "\n"


def _block(head: str, name: str, table: Table) -> Iterator[str]:
    """A table with its amplifiers below it."""
    yield from ("", head, *_values({key: value for key, value in table.items() if key != "amplifiers"}))
    for amplifier, values in table.get("amplifiers", {}).items():
        yield from ("", f"[{name}.amplifiers.{format_key(amplifier)}]", *_values(values))


def _values(table: Table) -> Iterator[str]:
    """One line for each value."""
    yield from (f"{format_key(key)} = {format_value(value)}" for key, value in table.items())


def _detector_table(detector: Detector) -> dict[str, Any]:
    """Values of a detector and, by name, of its amplifiers."""
    amplifiers = {amp.name: _table(amp, "name") for amp in detector.amplifiers}
    return {**_table(detector, "amplifiers"), "amplifiers": amplifiers}


def _table(described: Any, *left_out: str) -> dict[str, Any]:
    """The values of a camera, detector, amplifier or filter that are no defaults; boxes as sections."""
    found = {}
    for name, field in attrs.fields_dict(type(described)).items():
        value = _plain(getattr(described, name))
        # NaN is no default's equal, but its text is.
        if name not in left_out and repr(value) != repr(_plain(field.default)):
            found[name] = value
    return found


def _plain(value: Any) -> Any:
    """A value that TOML knows; no box is like another without pixels."""
    if isinstance(value, Box):
        return value.to_section() if value.area else ""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _common(tables: Sequence[Table]) -> dict[str, Any]:
    """What all tables have; amplifiers only where all have the same ones in the same order."""
    first = tables[0]
    common = {
        key: value
        for key, value in first.items()
        if key != "amplifiers" and all(key in other and repr(other[key]) == repr(value) for other in tables)
    }
    names = [list(table.get("amplifiers", ())) for table in tables]
    if names[0] and names.count(names[0]) == len(names):
        parts = {name: _common([table["amplifiers"][name] for table in tables]) for name in names[0]}
        common["amplifiers"] = parts
    return common


def _without(table: Table, shared: Table) -> dict[str, Any]:
    """What a table has that the shared one has not."""
    own = {key: value for key, value in table.items() if key not in shared}
    if "amplifiers" in shared:
        parts = {name: _without(table["amplifiers"][name], one) for name, one in shared["amplifiers"].items()}
        own["amplifiers"] = {name: part for name, part in parts.items() if part}
    return own
