"""An exposure: masked image, detector, visit, header, WCS, unit, facts and history. The one mutable value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from astropy.io.fits import Header
from astropy.time import Time
from astropy.wcs import WCS

from isrcore.camera import Detector
from isrcore.focal_plane import Coordinates
from isrcore.frame_statistics import FrameStatistics
from isrcore.image import Float32, Mask, MaskedImage, MaskPlanes, Pixels
from isrcore.ledger import Applied
from isrcore.runs import Runs
from isrcore.transmission import SystemTransmission
from isrcore.zero_point import ZeroPoint

if TYPE_CHECKING:
    # A fifth of what importing isrcore takes, for those who ask for a CCDData only.
    from astropy.nddata import CCDData

#: Units an exposure can be in; empty = dimensionless, as normalised flats are.
UNITS = ("adu", "electron", "")

# FITS keywords longer than this need the HIERARCH convention.
_SHORT = 8


@attrs.frozen
class VisitInfo:
    """When and how the exposure was taken. Unknown numbers are NaN, unknown texts empty.

    ``exposure_s`` and ``dark_s`` in seconds, ``date`` the middle of the exposure (UTC), ``observation_type``
    one of science, bias, dark, flat, fringe or empty, ``ra_deg``/``dec_deg`` in degrees (ICRS).
    """

    exposure_id: int = 0
    exposure_s: float = math.nan
    dark_s: float = math.nan
    date: Time | None = None
    filter: str = ""
    object_name: str = ""
    observation_type: str = ""
    ra_deg: float = math.nan
    dec_deg: float = math.nan
    airmass: float = math.nan


@attrs.frozen
class HistoryEntry:
    """One step that was applied: which code did it, with which calibration, in which segment.

    ``seconds`` is the time of the whole segment (steps of a segment run together and have no time of their
    own). ``digest`` identifies the content of the calibration.
    """

    step: str
    plugin: str = ""
    version: str = ""
    segment: int = 0
    calibration: str = ""
    digest: str = ""
    seconds: float = math.nan


def _as_polygon(vertices: Any) -> Coordinates | None:
    """Vertices nobody changes. Raises ValueError for what is no polygon."""
    if vertices is None:
        return None
    polygon = np.array(vertices, dtype=np.float64)
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3 or not np.isfinite(polygon).all():
        raise ValueError(
            f"a polygon is three or more finite vertices (x, y), this one has shape {polygon.shape}"
        )
    polygon.setflags(write=False)
    return polygon


@attrs.define(eq=False, slots=False)
class LazyWcs:
    """A WCS, or None, that ``make`` makes when somebody asks for it, once.

    Making the WCS of forty CCDs takes longer than reading their headers, and nobody who plans needs them.
    """

    make: Callable[[], WCS | None]

    @cached_property
    def value(self) -> WCS | None:
        """What was made."""
        return self.make()


@attrs.define(eq=False, repr=False)
class Exposure:
    """The pixels of one detector with all that is known about them.

    ``facts`` are past-tense truths ("flat-fielded"), ``given`` those of them that held before isrcore saw
    the pixels, each with who made it true ("Elixir (IMRED_OP)"); ``measured`` maps a step's name to what it
    measured, by amplifier name; ``source`` says where the exposure came from and ``digest`` identifies its
    content. ``valid_polygon`` (n, 2) are the corners x, y of the part that light reaches, in pixels of the
    trimmed detector; ``transmission`` is what the light passed and ``zero_point`` what a count is worth in
    flux. All three are None where nobody has said. ``applied`` are the operations of the run at hand, in
    order; empty outside of a run.
    """

    pixels: MaskedImage
    detector: Detector
    camera: str = ""
    visit: VisitInfo = attrs.field(factory=VisitInfo)
    header: Header = attrs.field(factory=Header)
    _wcs: WCS | LazyWcs | None = None
    unit: str = attrs.field(default="adu", validator=attrs.validators.in_(UNITS))
    facts: frozenset[str] = frozenset()
    history: tuple[HistoryEntry, ...] = ()
    measured: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    source: str = ""
    digest: str = ""
    given: Mapping[str, str] = attrs.field(factory=dict)
    valid_polygon: Coordinates | None = attrs.field(default=None, converter=_as_polygon)
    transmission: SystemTransmission | None = None
    zero_point: ZeroPoint | None = None
    applied: tuple[Applied, ...] = ()
    _statistics: dict[frozenset[str], FrameStatistics] = attrs.field(factory=dict, init=False, repr=False)

    def __repr__(self) -> str:
        """What it is and what was done, without pixels."""
        owner = f"{self.camera} {self.detector.name}".strip()
        kind = f"{self.shape[0]} x {self.shape[1]} {self.image.dtype.name} in {self.unit or 'no unit'}"
        facts = ", ".join(sorted(self.facts)) or "raw"
        return f"<Exposure {owner}: {kind}, {self.source or 'in memory'}\n  {facts}>"

    def _repr_html_(self) -> str:
        """For notebooks: a small picture and a table."""
        from isrcore.notebook import describe_html

        return describe_html(self)

    @property
    def wcs(self) -> WCS | None:
        """Where its pixels are on the sky; None when that is not known."""
        return self._wcs.value if isinstance(self._wcs, LazyWcs) else self._wcs

    @wcs.setter
    def wcs(self, value: WCS | None) -> None:
        self._wcs = value

    @property
    def image(self) -> Pixels:
        """Image plane, (ny, nx), in `unit`."""
        return self.pixels.image

    @property
    def mask(self) -> Mask:
        """Mask plane, int32 bit field."""
        return self.pixels.mask

    @property
    def variance(self) -> Float32:
        """Variance plane, in the square of `unit`."""
        return self.pixels.variance

    @property
    def planes(self) -> MaskPlanes:
        """Names of the mask's bits."""
        return self.pixels.planes

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.pixels.shape

    @property
    def is_assembled(self) -> bool:
        """Whether pixels are in the detector's trimmed frame, not in the raw one."""
        return "assembled" in self.facts

    @property
    def label(self) -> str:
        """How messages name this exposure."""
        return f"{self.source or 'exposure in memory'} (detector {self.detector.name!r})"

    def statistics(self, *ignored: str, threads: int = 1, flagged: Runs | None = None) -> FrameStatistics:
        """Robust statistics of the pixels without these planes, found once for all who ask.

        Whoever changes pixels calls `forget_statistics`, as every segment of a run does. ``threads`` look at
        the frame. Who has found the runs of all pixels with these planes gives them as ``flagged``, and the
        mask is not looked through again.
        """
        key = frozenset(ignored)
        if key not in self._statistics:
            self._statistics[key] = FrameStatistics(
                self.pixels, *sorted(key), threads=threads, flagged=flagged
            )
        return self._statistics[key]

    def forget_statistics(self, *changed: str) -> None:
        """Have statistics found anew, but for those that leave out all pixels that changed.

        ``changed`` are planes of which every changed pixel has one; none named: any pixel may have changed.
        """
        kept = [key for key in self._statistics if changed and key >= set(changed)]
        self._statistics = {key: self._statistics[key] for key in kept}

    def share(self) -> Exposure:
        """Another exposure on the same pixels: facts, header and planes change apart from this one's."""
        return attrs.evolve(self, header=self.header.copy(), measured=dict(self.measured))

    def clone(self) -> Exposure:
        """A copy with pixels of its own, in no run."""
        return attrs.evolve(self.share(), pixels=self.pixels.copy(), applied=())

    def to_ccddata(self) -> CCDData:
        """As `astropy.nddata.CCDData`: data, boolean mask (any plane), variance, unit, WCS, header.

        Pixels are shared, not copied. The mask's plane names go into ``meta`` as ``MP_`` cards.
        """
        from astropy.nddata import CCDData, VarianceUncertainty

        header = self.header.copy()
        for name, bit in self.planes.bits.items():
            keyword = f"MP_{name}"
            header[keyword if len(keyword) <= _SHORT else f"HIERARCH {keyword}"] = bit
        return CCDData(
            self.image,
            mask=self.mask != 0,
            uncertainty=VarianceUncertainty(self.variance),
            unit=self.unit,
            wcs=self.wcs,
            meta=header,
        )

    @classmethod
    def from_ccddata(cls, ccd: CCDData, detector: Detector | None = None) -> Exposure:
        """An assembled exposure from `astropy.nddata.CCDData`; masked pixels get BAD.

        Raises ValueError for a unit other than adu or electron, or an uncertainty that is neither a
        variance nor a standard deviation.
        """
        unit = str(ccd.unit)
        if unit not in UNITS:
            raise ValueError(f"CCDData is in {unit!r}; it must be one of {', '.join(map(repr, UNITS))}")
        planes = MaskPlanes()
        mask = None
        if ccd.mask is not None:
            mask = np.where(ccd.mask, np.int32(planes.value("BAD")), np.int32(0))
        image = np.asarray(ccd.data, dtype=np.float32)
        pixels = MaskedImage.from_image(image, mask, _variance_of(ccd), planes)
        owner = detector or Detector.of_shape(pixels.shape)
        return cls(
            pixels, owner, header=Header(ccd.meta), wcs=ccd.wcs, unit=unit, facts=frozenset({"assembled"})
        )


def _variance_of(ccd: CCDData) -> Float32 | None:
    """The variance plane of a CCDData, whatever its kind of uncertainty."""
    from astropy.nddata import StdDevUncertainty, VarianceUncertainty

    uncertainty = ccd.uncertainty
    if uncertainty is None:
        return None
    array = np.asarray(uncertainty.array, dtype=np.float32)
    if isinstance(uncertainty, VarianceUncertainty):
        return array
    if isinstance(uncertainty, StdDevUncertainty):
        return np.square(array)
    kind = uncertainty.uncertainty_type
    raise ValueError(f"CCDData has uncertainty of type {kind!r}; it must be a variance ('var') or 'std'")
