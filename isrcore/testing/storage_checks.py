"""Checks that a camera and its exposures can be stored, and sent to other processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

from isrcore.camera import Camera
from isrcore.geometry import GeometryError
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import Fault, checks


class _Text:
    """A text where a file is asked for."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read_text(self) -> str:
        """The text."""
        return self.text


@checks("the camera survives being written as a TOML table and read again")
def check_camera_toml(case: CameraCase) -> Iterator[Fault]:
    """`Camera.to_toml` and `Camera.from_toml` give the same camera."""
    try:
        again: object = Camera.from_toml(_Text(case.camera.to_toml()))
    except GeometryError as fault:
        again = fault
    # By text: NaN is not equal to itself.
    if repr(again) != repr(case.camera):
        yield Fault(
            "it does not come back from its own table",
            _first_difference(repr(case.camera), repr(again)),
            "describe it with Camera, Detector, Amplifier and Filter themselves, and with numbers and texts",
        )


def _first_difference(one: str, other: str) -> str:
    """Where two texts begin to differ."""
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    begin = max(0, start - 40)
    return f"...{one[begin : start + 40]}... becomes ...{other[begin : start + 40]}..."


@checks("the camera can be pickled, as worker processes need it")
def check_pickling(case: CameraCase) -> Iterator[Fault]:
    """The camera comes back from `pickle`."""
    try:
        again: object = pickle.loads(pickle.dumps(case.camera))
    except Exception as fault:  # pickle lets through whatever an object raises
        again = f"{type(fault).__name__}: {fault}"
    if repr(again) != repr(case.camera):
        yield Fault(
            "it cannot be pickled, so that several processes cannot share the work",
            str(again)[:200],
            "keep functions, locks and open files out of the camera, its detectors and amplifiers",
        )
