"""Heron keeps what every camera must."""

from isrcore.testing import CameraContract


class TestHeron(CameraContract):
    camera = "Heron"
