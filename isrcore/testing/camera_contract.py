"""What every camera must keep, as a class for pytest: name the camera, and run it.

::

    from isrcore.testing import CameraContract

    class TestMyCamera(CameraContract):
        camera = "mycam"
        raw = Path("frame.fits")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import pytest

from isrcore.registry import Registry
from isrcore.testing import focal_plane_checks as focal_plane
from isrcore.testing import geometry_checks as geometry
from isrcore.testing import header_checks as headers
from isrcore.testing import import_checks as imports
from isrcore.testing import override_checks as overrides
from isrcore.testing import pixel_checks as pixels
from isrcore.testing import raw_checks as real
from isrcore.testing import reader_checks as reading
from isrcore.testing import storage_checks as storage
from isrcore.testing import value_checks as values
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import NotApplicable

#: The check behind every test of `CameraContract`.
Check = Callable[[CameraCase], None]


class CameraContract:
    """Tests of one camera. Subclass it in a test module with a name that starts with ``Test``.

    ``camera`` is the camera's name; ``registry`` the plugins (default: all installed ones); ``raw`` one or
    more real raw files of the camera, which may be none. A failing test lists every fault with the smallest
    example and what to change; a test without anything to look at is skipped with the reason.
    """

    camera: ClassVar[str] = ""
    raw: ClassVar[str | Path | Iterable[str | Path]] = ()
    registry: ClassVar[Registry | None] = None

    @classmethod
    def case(cls) -> CameraCase:
        """What the checks look at; made once for the class."""
        if "_case" not in vars(cls):
            if not cls.camera:
                raise AssertionError(f"{cls.__name__} names no camera; write in it: camera = 'mycam'")
            cls._case = CameraCase.of(cls.camera, cls.registry, cls.raw)
        return cls._case

    _case: ClassVar[CameraCase]

    @classmethod
    def keeps(cls, check: Check) -> None:
        """Run one check; skip where it does not apply."""
        try:
            check(cls.case())
        except NotApplicable as reason:
            pytest.skip(str(reason))

    def test_boxes_lie_inside_the_frame_and_are_disjoint(self) -> None:
        """See `check_boxes`."""
        self.keeps(geometry.check_boxes)

    def test_amplifiers_tile_every_detector_once(self) -> None:
        """See `check_tiling`."""
        self.keeps(geometry.check_tiling)

    def test_flips_are_involutions_and_agree_with_corners(self) -> None:
        """See `check_flips`."""
        self.keeps(geometry.check_flips)

    def test_sections_round_trip(self) -> None:
        """See `check_sections`."""
        self.keeps(geometry.check_sections)

    def test_pixels_come_back_from_the_focal_plane(self) -> None:
        """See `check_focal_plane`."""
        self.keeps(focal_plane.check_focal_plane)

    def test_detectors_lie_apart_in_the_focal_plane(self) -> None:
        """See `check_mosaic`."""
        self.keeps(focal_plane.check_mosaic)

    def test_the_focal_plane_comes_back_from_the_field(self) -> None:
        """See `check_field`."""
        self.keeps(focal_plane.check_field)

    def test_detectors_can_be_told_apart(self) -> None:
        """See `check_detectors`."""
        self.keeps(values.check_detectors)

    def test_gains_noises_and_levels_are_sane(self) -> None:
        """See `check_levels`."""
        self.keeps(values.check_levels)

    def test_filters_are_unique_by_all_their_names(self) -> None:
        """See `check_filters`."""
        self.keeps(values.check_filters)

    def test_overrides_set_known_fields(self) -> None:
        """See `check_override_fields`."""
        self.keeps(overrides.check_override_fields)

    def test_overrides_are_idempotent(self) -> None:
        """See `check_override_repeated`."""
        self.keeps(overrides.check_override_repeated)

    def test_overrides_leave_other_cameras_alone(self) -> None:
        """See `check_override_others`."""
        self.keeps(overrides.check_override_others)

    def test_the_config_round_trips_through_toml(self) -> None:
        """See `check_config_toml`."""
        self.keeps(overrides.check_config_toml)

    def test_the_camera_round_trips_through_toml(self) -> None:
        """See `check_camera_toml`."""
        self.keeps(storage.check_camera_toml)

    def test_the_camera_can_be_pickled(self) -> None:
        """See `check_pickling`."""
        self.keeps(storage.check_pickling)

    def test_what_is_written_is_read(self) -> None:
        """See `check_round_trip`."""
        self.keeps(reading.check_round_trip)

    def test_levels_survive_writing_and_reading(self) -> None:
        """See `check_levels_read`."""
        self.keeps(reading.check_levels_read)

    def test_one_detector_is_read_alone(self) -> None:
        """See `check_one_detector`."""
        self.keeps(reading.check_one_detector)

    def test_missing_detectors_are_refused(self) -> None:
        """See `check_requests`."""
        self.keeps(reading.check_requests)

    def test_other_shapes_are_refused(self) -> None:
        """See `check_shapes`."""
        self.keeps(reading.check_shapes)

    def test_files_of_others_are_left_alone(self) -> None:
        """See `check_foreign_files`."""
        self.keeps(reading.check_foreign_files)

    def test_damaged_headers_are_borne(self) -> None:
        """See `check_headers`."""
        self.keeps(headers.check_headers)

    def test_nothing_becomes_a_silent_default(self) -> None:
        """See `check_silent_defaults`."""
        self.keeps(headers.check_silent_defaults)

    def test_real_frames_are_read(self) -> None:
        """See `check_raw`."""
        self.keeps(real.check_raw)

    def test_damaged_real_headers_are_borne(self) -> None:
        """See `check_raw_headers`."""
        self.keeps(real.check_raw_headers)

    def test_overscans_of_real_frames_are_dark(self) -> None:
        """See `check_overscans`."""
        self.keeps(real.check_overscans)

    def test_the_plan_meets_all_contracts(self) -> None:
        """See `check_planning`."""
        self.keeps(pixels.check_planning)

    def test_every_step_keeps_its_contract(self) -> None:
        """See `check_steps`."""
        self.keeps(pixels.check_steps)

    def test_bands_equal_the_whole_frame(self) -> None:
        """See `check_tiles`."""
        self.keeps(pixels.check_tiles)

    def test_bias_dark_and_flat_can_be_undone(self) -> None:
        """See `check_undoing`."""
        self.keeps(pixels.check_undoing)

    def test_amplifiers_land_where_declared(self) -> None:
        """See `check_landing`."""
        self.keeps(pixels.check_landing)

    def test_importing_the_plugin_does_nothing_else(self) -> None:
        """See `check_import`."""
        self.keeps(imports.check_import)

    def test_no_optional_dependency_is_needed_to_import(self) -> None:
        """See `check_optional`."""
        self.keeps(imports.check_optional)
