"""Cameras without code: one TOML file says where pixels are and what headers call things."""

from isrcore.camera_files.files import (
    CAMERAS_VARIABLE,
    CameraFile,
    camera_folder,
    find_camera_files,
    is_camera_file,
)
from isrcore.camera_files.plugin import FileCamera, load_camera_file

__all__ = [
    "CAMERAS_VARIABLE",
    "CameraFile",
    "FileCamera",
    "camera_folder",
    "find_camera_files",
    "is_camera_file",
    "load_camera_file",
]
