"""The MegaCam camera: 40 CCDs and the filters, read from the table ``megacam.toml`` beside this file."""

from __future__ import annotations

from importlib.resources import files

from isrcore import Camera

CAMERA = Camera.from_toml(files(__package__) / "megacam.toml")
