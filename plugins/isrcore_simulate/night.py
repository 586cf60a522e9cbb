"""Raw frames of one instrument and one field, and whole nights of them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from astropy.time import Time, TimeDelta

from isrcore import (
    Camera,
    Config,
    Detector,
    Exposure,
    Hits,
    IsrTask,
    MaskedImage,
    MaskPlanes,
    Readout,
    Registry,
    VisitInfo,
    default_config,
    simulate,
    write_exposure,
)
from isrcore_simulate.instrument import DetectorTruth, Instrument
from isrcore_simulate.scene import Scene

#: What a frame can be of, with the letter its name ends in.
KINDS = {"science": "o", "bias": "b", "dark": "d", "flat": "f"}

FIRST_NUMBER = 1_000_001

# Switches of the corrections whose opposite makes a frame; all others would flag, look or need more truths.
_NEEDED = frozenset(
    {"doAssembleCcd", "doBias", "doConvertIntToFloat", "doDark", "doFlat", "doOverscan", "doVariance"}
)
# UTC hour at which frames of a kind begin, on 2020-01-02, and seconds from the end of one to the next.
_HOURS, _READOUT_S = {"bias": 3, "flat": 4, "science": 6, "dark": 15}, 40.0
# Pixels of detectors that are kept at hand: one of a large mosaic, or all of a small camera.
_KEPT_PIXELS = 10_000_000


@attrs.frozen
class Shot:
    """One exposure: its kind and number, times in s, where it points, and for flats how bright they are.

    ``flat_level`` in electron per pixel of average response.
    """

    kind: str = "science"
    number: int = FIRST_NUMBER
    exposure_s: float = 60.0
    filter: str = "r"
    flat_level: float = 20_000.0
    ra_deg: float = 150.0
    dec_deg: float = 2.0

    @property
    def stem(self) -> str:
        """The name of its file without ending, as CFHT names files: ``1000001o``."""
        return f"{self.number}{KINDS[self.kind]}"

    def visit(self) -> VisitInfo:
        """When and how, for the header. A bias lasts no time; calibrations have no place in the sky."""
        seconds = 0.0 if self.kind == "bias" else self.exposure_s
        is_science = self.kind == "science"
        index = self.number - FIRST_NUMBER
        start = Time(f"2020-01-02T{_HOURS[self.kind]:02}:00:00", scale="utc", precision=9)
        wait = TimeDelta(index * (seconds + _READOUT_S) + seconds / 2, format="sec")
        return VisitInfo(
            exposure_id=self.number,
            exposure_s=seconds,
            dark_s=seconds,
            date=start + wait,
            filter=self.filter,
            object_name="simulated field" if is_science else self.kind,
            observation_type=self.kind,
            ra_deg=self.ra_deg if is_science else math.nan,
            dec_deg=self.dec_deg if is_science else math.nan,
            airmass=1.0,
        )


@attrs.frozen(eq=False)
class Frame:
    """A simulated raw exposure and the truth behind it.

    ``image`` is what its product should show, adu, without noise and particles; ``saturated`` are pixels that
    were full or got charge from full ones, ``hits`` what particles left.
    """

    raw: Exposure
    image: npt.NDArray[np.float32]
    saturated: npt.NDArray[np.bool_]
    hits: Hits | None
    detector: DetectorTruth

    def truth(self) -> Exposure:
        """The product as it should be: SAT, CR and BAD flag what cannot be recovered; variance zero."""
        planes, shape = MaskPlanes(), self.image.shape
        mask = np.where(self.saturated, np.int32(planes.value("SAT")), np.int32(0))
        if self.hits is not None:
            mask[self.hits.y, self.hits.x] |= np.int32(planes.value("CR"))
        for box in self.detector.defects:
            mask[box.slices] |= np.int32(planes.value("BAD"))
        pixels = MaskedImage(self.image, mask, np.zeros(shape, np.float32), planes)
        facts = frozenset({"assembled", "bias-subtracted", "dark-subtracted", "flat-fielded"})
        return attrs.evolve(self.raw, pixels=pixels, facts=facts, wcs=None, source="truth")


class Simulator:
    """Makes frames of one instrument and one field, each as its seed says, whatever else is made.

    ``drift`` and ``row_noise`` (adu) are those of `Readout`; the noise of a frame depends on ``seed``, and on
    number, kind and detector of the frame.
    """

    def __init__(
        self,
        instrument: Instrument,
        scene: Scene | None = None,
        *,
        seed: int = 1,
        drift: float = 3.0,
        row_noise: float = 0.5,
        registry: Registry | None = None,
    ) -> None:
        self.instrument, self.scene = instrument, scene or Scene(seed=seed)
        self.camera: Camera = instrument.camera
        self.seed, self.drift, self.row_noise = seed, drift, row_noise
        self.registry = registry or Registry.discover()
        config = _needed_config(self.registry, self.camera)
        self.task = IsrTask(config, camera=self.camera.name, registry=self.registry)
        self._known: dict[str, DetectorTruth] = {}

    def truth_of(self, detector: Detector) -> DetectorTruth:
        """What a detector is like; that of a few megapixels is remembered."""
        known = self._known.get(detector.name)
        if known is None or known.detector != detector:
            pixels = sum(one.flat.size for one in self._known.values())
            if pixels + math.prod(detector.shape) > _KEPT_PIXELS:
                self._known.clear()
            self._known[detector.name] = self.instrument.truth_of(detector)
        return self._known[detector.name]

    def expose(self, shot: Shot, detector: Detector) -> Frame:
        """One detector's frame of a shot."""
        truth, visit = self.truth_of(detector), shot.visit()
        image = self._light(shot, detector)
        image *= np.float32(truth.adu_per_electron)
        seed = (self.seed, shot.number, zlib.crc32(shot.kind.encode()))
        hits = self.scene.particles(detector, visit.exposure_s, seed)
        made = simulate(
            self.task,
            Exposure(_exact_pixels(image), detector, self.camera.name, visit, source=shot.stem),
            Readout(truth.levels, self.drift, self.row_noise, truth.full_well),
            seed=seed,
            hits=hits,
            **truth.calibrations(),
        )
        return Frame(made.exposure, image, made.saturated, hits, truth)

    def _light(self, shot: Shot, detector: Detector) -> npt.NDArray[np.float32]:
        """Electron per pixel of average response."""
        if shot.kind == "science":
            return self.scene.light(detector, shot.exposure_s)
        return np.full(detector.shape, shot.flat_level if shot.kind == "flat" else 0.0, np.float32)

    def write(
        self,
        path: Path,
        shot: Shot,
        detectors: Sequence[Detector],
        truth: Path | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Write the raw file of a shot, detector by detector; and what is true of it into a folder.

        ``truth`` gets a product ``<stem>_<detector>.fits`` for each detector. Raises `FitsError`.
        """
        frames = self._frames(shot, detectors, truth)
        self.registry.write_raw(path, self.camera, frames, overwrite=overwrite)

    def _frames(self, shot: Shot, detectors: Iterable[Detector], truth: Path | None) -> Iterator[Exposure]:
        for detector in detectors:
            frame = self.expose(shot, detector)
            if truth is not None:
                write_exposure(frame.truth(), truth / f"{shot.stem}_{detector.name}.fits", overwrite=True)
            yield frame.raw

    def write_instrument(self, folder: Path, detectors: Iterable[Detector]) -> None:
        """Write perfect masters ``masters/<kind>_<detector>.fits`` and ``defects/<detector>.fits``.

        ``isr run`` can use them with ``--bias FOLDER/masters`` and so on. Raises `FitsError` and
        `DefectsError`.
        """
        # Apart from the truths of biases and flats, which are products of these kinds too.
        for place in ("masters", "defects"):
            (folder / place).mkdir(parents=True, exist_ok=True)
        for detector in detectors:
            truth = self.truth_of(detector)
            for kind, frame in truth.calibrations().items():
                write_exposure(frame, folder / "masters" / f"{kind}_{detector.name}.fits", overwrite=True)
            truth.defects.write(folder / "defects" / f"{detector.name}.fits")


def _exact_pixels(image: npt.NDArray[np.float32]) -> MaskedImage:
    """An image without flags and variance, which take no memory."""
    mask = np.broadcast_to(np.int32(0), image.shape)
    return MaskedImage(image, mask, np.broadcast_to(np.float32(0), image.shape))


def _needed_config(registry: Registry, camera: Camera) -> Config:
    """The camera's config with those corrections on whose opposite makes a frame."""
    config = default_config(registry, camera.name)
    for spec in registry.specs.values():
        if spec.flag is not None:
            config.set(spec.flag, spec.flag in _NEEDED)
    return config


@attrs.frozen
class Night:
    """Files of a night by kind, and the folder with what is true of them (None when it was not written)."""

    files: dict[str, list[Path]]
    truth: Path | None
    simulator: Simulator


def simulate_night(
    camera: Camera,
    folder: str | Path,
    *,
    detectors: Iterable[str | int] | None = None,
    num_bias: int = 5,
    num_dark: int = 0,
    num_flat: int = 5,
    num_science: int = 2,
    science_s: float = 60.0,
    seed: int = 1,
    simulator: Simulator | None = None,
    writes_truth: bool = True,
) -> Night:
    """Write the raw files of a night into a folder, made if need be, and what is true into its ``truth/``.

    ``detectors`` are names or ids, None means all; ``science_s`` is the exposure time of science frames.
    ``simulator`` (default: one of ``seed``) says what instrument and sky are like. Truths are products named
    like those of ``isr run``, perfect masters and tables of defects. Raises KeyError for a detector that the
    camera has not, `FitsError` for a file that is there already.
    """
    place, made = Path(folder), simulator or Simulator(Instrument(camera, seed), seed=seed)
    chosen = [camera[key] for key in detectors] if detectors is not None else list(camera.detectors)
    truth = place / "truth" if writes_truth else None
    (truth or place).mkdir(parents=True, exist_ok=True)
    if truth:
        made.write_instrument(truth, chosen)
    numbers = {"bias": num_bias, "dark": num_dark, "flat": num_flat, "science": num_science}
    times = {"bias": 0.0, "dark": 300.0, "flat": 5.0, "science": science_s}
    files: dict[str, list[Path]] = {kind: [] for kind in numbers}
    kinds = [kind for kind, number in numbers.items() for _ in range(number)]
    for number, kind in enumerate(kinds, FIRST_NUMBER):
        shot = Shot(kind, number, times[kind])
        path = place / f"{shot.stem}.fits.fz"
        made.write(path, shot, chosen, truth)
        files[kind].append(path)
    return Night(files, truth, made)


def summary_of(shot: Shot, detectors: Sequence[Detector]) -> str:
    """What a file holds, in words."""
    names: list[Any] = [detector.name for detector in detectors]
    told = ", ".join(names) if len(names) <= 3 else f"{len(names)} detectors, {names[0]} to {names[-1]}"
    seconds = "" if shot.kind == "bias" else f" of {shot.exposure_s:g} s"
    return f"{shot.kind}{seconds}: {told}"
