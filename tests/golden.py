"""Golden pairs: inputs and outputs of the original, as parameters of tests."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

DATA = Path(os.environ.get("ISRCORE_TEST_DATA", Path(__file__).parents[1] / "../shared"))
ROOT = DATA / "golden"


class Arrays(Mapping[str, npt.NDArray[Any]]):
    """The input or output arrays of one case, read when first asked for.

    Inputs and outputs never share memory, so a test may change its inputs in place.
    """

    def __init__(self, entry: dict[str, Any], prefix: str) -> None:
        self._entry, self._prefix = entry, prefix

    @cached_property
    def _stored(self) -> dict[str, npt.NDArray[Any]]:
        with np.load(ROOT / self._entry["file"]) as stored:
            sources = {name: name for name in stored.files} | self._entry["same"]
            names = [name for name in sources if name.startswith(self._prefix)]
            return {name.removeprefix(self._prefix): stored[sources[name]] for name in names}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._stored[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


@cache
def _entries() -> list[dict[str, Any]]:
    index = json.loads((ROOT / "index.json").read_text())
    entries: list[dict[str, Any]] = index["cases"]
    return entries


def all_cases() -> set[str]:
    """The names of all pairs."""
    return {entry["case"] for entry in _entries()}


def golden_cases(function: str) -> list[Any]:
    """Parameters ``entry, inputs, outputs``, one per case of ``function``; one skipped case without data."""
    if not (ROOT / "index.json").exists():
        skip = pytest.mark.skip(
            reason=f"no golden pairs at {ROOT}; set ISRCORE_TEST_DATA to the folder above"
        )
        return [pytest.param({}, {}, {}, marks=skip, id=function)]
    found = [entry for entry in _entries() if entry["function"] == function]
    if not found:
        raise LookupError(f"no golden pair is of {function!r}; see {ROOT / 'index.json'}")
    return [pytest.param(e, Arrays(e, "in."), Arrays(e, "out."), id=e["case"]) for e in found]


def plane_bits(entry: dict[str, Any], *planes: str) -> int:
    """The bits of mask planes as the case numbers them."""
    return sum(1 << entry["maskPlanes"][plane] for plane in planes)
