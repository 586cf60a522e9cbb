"""The options of pytest for the conformance kit: ``pytest --isr-camera mycam``.

pytest loads this in every run of everybody who has isrcore installed, so it imports nothing: what the
options ask for is in `isrcore.testing`, imported when one is given.
"""

from __future__ import annotations

from typing import Any


def pytest_addoption(parser: Any) -> None:
    """Add the options of the kit."""
    group = parser.getgroup("isrcore", "conformance kit of isrcore")
    group.addoption(
        "--isr-camera",
        action="append",
        default=[],
        metavar="NAME",
        help="test that an installed camera keeps isrcore's contract (may be given several times)",
    )
    group.addoption(
        "--isr-raw",
        action="append",
        default=[],
        metavar="FILE",
        help="a real raw file to test the camera with (may be given several times)",
    )


def pytest_configure(config: Any) -> None:
    """Load the kit when it is asked for."""
    if config.getoption("isr_camera") or config.getoption("isr_raw"):
        config.pluginmanager.import_plugin("isrcore.testing.pytest_plugin")
