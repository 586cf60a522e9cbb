"""Where the CCDs lie on the pixel grid that DETSEC cards count on."""

from __future__ import annotations

from isrcore import Amplifier, Box, Detector, Section

# Place of the centre of the focal plane on the grid (x, y, first pixel 1), exact for all 40 CCDs.
_CENTRE = (11610.5, 9678.0)


def mosaic_section(detector: Detector, box: Box | None = None) -> Section:
    """The section of the mosaic that a box of the trimmed CCD (default: all of it) covers.

    As DETSEC: reversed in both axes for the two upper rows, whose CCDs are turned by 180 degrees.
    """
    part = box or Box.of_shape(detector.shape)
    is_turned = detector.yaw_deg == 180
    local = part.flip(detector.shape, is_turned, is_turned)
    x, y = (
        centre + mm / detector.pixel_size_mm - size / 2 - 0.5
        for centre, mm, size in zip(_CENTRE, detector.offset_mm, reversed(detector.shape), strict=True)
    )
    return Section(local.shift(round(y), round(x)), flip_y=is_turned, flip_x=is_turned)


def find_amplifier(section: Section, detectors: tuple[Detector, ...]) -> tuple[Detector, Amplifier] | None:
    """The amplifier that reads most of a section of the mosaic, with its CCD; None when none reads half.

    Half, because some DETSEC cards of the first files are a row too tall.
    """
    overlaps = {
        mosaic_section(detector, amp.box).box.intersect(section.box).area: (detector, amp)
        for detector in detectors
        for amp in detector.amplifiers
    }
    most = max(overlaps)
    return overlaps[most] if 2 * most > section.box.area else None
